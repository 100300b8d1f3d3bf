"""The server: the page over HTTP and the messages over /ws, on one port.

LiveRunner thread -> Hub -> Broadcaster -> socket                    (one broadcaster per session)
                            Broadcaster -> Viewer task -> socket     (if the viewer is behind)
                            socket -> Viewer -> SessionPool          (if the client streams audio)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

from mer_engine import Engine
from mer_engine.engine import backend_warning
from websockets.asyncio.server import Server as SocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from realtime_mer import __version__
from realtime_mer.audio.source import Input, InputKind
from realtime_mer.clock import Clock, SystemClock, iso_utc
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.target import TargetTrajectory
from realtime_mer.errors import EngineError, UserError
from realtime_mer.live import freed_memory
from realtime_mer.live.clock_watch import ClockWatch
from realtime_mer.live.hub import Hub, Notice
from realtime_mer.live.person import Person
from realtime_mer.live.replay import Replay
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.session_pool import MAX_SESSIONS, SessionPool
from realtime_mer.live.show import Show
from realtime_mer.live.stats import Counter, Stats
from realtime_mer.server import authentication, protocol
from realtime_mer.server.audio_connection import AudioConnection, ConnectionLimits, ReadPacing
from realtime_mer.server.authentication import UNAUTHORIZED, Authenticator
from realtime_mer.server.broadcast import Broadcaster
from realtime_mer.server.channel import Channel, EncodedMessage
from realtime_mer.server.door import Door, can_stand_in
from realtime_mer.server.http import (
    AccessPolicy,
    Refusal,
    Site,
    Target,
    attachment,
    bracketed,
    check_method,
    check_upgrade,
    frame_origin,
    handshake_refusal,
    is_loopback,
    refusal,
    sentence_page,
    to_https,
    unparsed_refusal,
)
from realtime_mer.server.ip_address import network_of
from realtime_mer.server.limits import (
    LargeMessages,
    Limit,
    Refusals,
    Turns,
    gives_way,
    pending_connections,
)
from realtime_mer.server.listener import DEFAULT_PORT, open_listener
from realtime_mer.server.own_addresses import own_addresses
from realtime_mer.server.protocol import ErrorCode, WireError
from realtime_mer.server.proxies import Proxies, is_encrypted
from realtime_mer.server.report_desk import ReportDesk, ReportMaker
from realtime_mer.server.session_list import SessionList
from realtime_mer.server.stage_scenes import StageScenes
from realtime_mer.server.status import ServerStatus
from realtime_mer.server.tls_transport import TlsHandshakes
from realtime_mer.server.tokens import Role, Tokens
from realtime_mer.server.viewer import Viewer, fast_audio_limit, tap_limit

if TYPE_CHECKING:
    from realtime_mer.server.tls import ServerTls

logger = logging.getLogger(__name__)

DEFAULT_HOST = "127.0.0.1"
MAX_VIEWERS = 200
MAX_DRAIN_S = 3600.0
HEALTH_PERIOD_S = 2.0
# A fader moves a thousand times a second; the pages show it no more often than this.
SHOW_PERIOD_S = 0.05
BACKEND_NOTICE = "backend_fallback"
"""Code of the notice that another backend had to take over."""
# Bounds of what is buffered for a viewer that stopped reading: this and one message in our memory,
# and twice `SOCKET_BUFFER_BYTES` in the kernel.
WRITE_LIMIT_BYTES = 16 * 2**10
RECEIVE_QUEUE_FRAMES = 4
PING_S = 20.0
CLOSE_TIMEOUT_S = 2.0
# A handshake, that of TLS included, must be complete by then.
OPEN_TIMEOUT_S = 5.0
# Connections that the kernel keeps until they are accepted; it may take fewer.
LISTEN_BACKLOG = 4096
CERTIFICATE_CHECK_S = 10.0
# What a server that goes away still answers.
STATUS_PAGES = ("/healthz", "/readyz", "/metrics")
# Browsers then ask this host in https only, on all its ports, until a week after the last visit.
STRICT_TRANSPORT = "max-age=604800"

REPORT_PATH = "/report.html"
_REPORT_IS_MADE = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "the report is being made; ask again in two seconds\n",
    # A browser that shows this asks again by itself.
    {"Retry-After": "2", "Refresh": "2"},
)
_INTERNAL_ERROR = Refusal(
    HTTPStatus.INTERNAL_SERVER_ERROR, "internal server error, see the server's log\n"
)
_TOKEN_FIRST = (
    'this server needs a token: send {"type": "auth", "token": ...} as the first message within '
    f"{authentication.AUTH_TIMEOUT_S:g} s, or the header Authorization: Bearer TOKEN"
)

BROWSER_INPUT = Input(
    InputKind.BROWSER, "waiting for a browser's microphone", 48_000, 1, paced=False, live=True
)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where the server listens and how many clients it accepts.

    Attributes:
        host: address to bind; 127.0.0.1 accepts connections from this machine only.
        port: TCP port; 0 takes a free one.
        max_sessions: audio streams of clients at once, 0 to 4096.
        max_viewers: websocket connections at once, 1 to 10,000.
        allowed_origins: origins of other pages that may connect.
        allowed_frames: origins of other pages that may show this one in a frame.
        stage_scenes: further scenes of the page's stage mode.
        proxies: addresses or networks of reverse proxies that are trusted, see `Proxies`.
        tls: the certificate; None for plain HTTP.
        tokens: one of them is needed to watch or send sound; None lets everyone.
        drain_s: how long `drain` leaves clients to move to another server, 0 to 3600 s.

    Raises:
        UserError: a value lies outside its range.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    max_sessions: int = MAX_SESSIONS
    max_viewers: int = MAX_VIEWERS
    allowed_origins: tuple[str, ...] = ()
    allowed_frames: tuple[str, ...] = ()
    stage_scenes: StageScenes = field(default_factory=StageScenes)
    proxies: tuple[str, ...] = ()
    tls: ServerTls | None = None
    tokens: Tokens | None = None
    drain_s: float = 0.0

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("port", self.port, 0, 65_535),
            ("number of sessions", self.max_sessions, 0, 4096),
            ("number of viewers", self.max_viewers, 1, 10_000),
        ):
            if not low <= value <= high:
                raise UserError(f"the {name} is {value}; it must lie between {low} and {high}")
        if not 0.0 <= self.drain_s <= MAX_DRAIN_S:
            raise UserError(
                f"the time to drain is {self.drain_s:g} s; it must lie between 0 and "
                f"{MAX_DRAIN_S:g} s"
            )
        self.access()
        self.frames()
        Proxies(self.proxies)

    @property
    def scheme(self) -> str:
        """The scheme of the server's address."""
        return "http" if self.tls is None else "https"

    def access(self) -> AccessPolicy:
        """Return which pages may connect."""
        return AccessPolicy(self.host, self.allowed_origins, self.scheme)

    def frames(self) -> list[str]:
        """Return the origins of pages that may frame this one, as a content policy has them."""
        return [frame_origin(origin) for origin in self.allowed_frames]


class MerServer:
    """Serves one runner's session and the sessions of streaming clients to many viewers.

        async with MerServer(engine, runner) as server:
            print(server.url)
            ...

    The server does not start or stop the runner. Call all methods in the event loop's thread.

    Args:
        engine: shared by the runner and all sessions.
        runner: processes the server's own input, or replays a recording in its place; None where
            only clients send audio.
        config: where to listen and how many clients to accept.
        pipeline: settings of the clients' pipelines; default: the runner's.
        stats: counters of the whole server; default: the runner's.
        show: the controls and outputs that the page shows; default: none.
        target: the way over the plane that the session is meant to take, for the page.
        recorded: whether the runner's session is recorded, which every client is told.
        person: whose taps the page `/calibrate` takes; default: nobody's.
        report: makes the report of a session for `/report.html`; default: there are none.
        clock: the time source.
    """

    def __init__(
        self,
        engine: Engine,
        runner: LiveRunner | Replay | None = None,
        *,
        config: ServerConfig | None = None,
        pipeline: PipelineConfig | None = None,
        stats: Stats | None = None,
        show: Show | None = None,
        target: TargetTrajectory | None = None,
        recorded: bool = False,
        person: Person | None = None,
        report: ReportMaker | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._recorded = recorded
        self.config = config or ServerConfig()
        self.show = show or Show()
        self.person = person
        self.clock = clock or SystemClock()
        self._runner = runner
        self._target = target
        live = runner if isinstance(runner, LiveRunner) else None
        if pipeline is None:
            pipeline = live.pipeline.config if live is not None else PipelineConfig()
        self._pipeline_config = pipeline
        self._value_range = pipeline.range_of(engine.info)
        if stats is None:
            stats = runner.stats if runner is not None else Stats()
        self.stats = stats
        self._scheme = self.config.scheme
        self._access = self.config.access()
        self.proxies = Proxies(self.config.proxies)
        self.pool = SessionPool(
            # One watch for all, so that every stream's health is known.
            engine if live is None else live.watch,
            config=pipeline,
            max_sessions=self.config.max_sessions,
            clock=self.clock,
            stats=stats,
        )
        self._engine = self.pool.watch
        if live is not None:
            live.relieve = self.pool.give_way
        self._own_channel = self._make_own_channel()
        self._authenticator = (
            None if self.config.tokens is None else Authenticator(self.config.tokens, self.clock)
        )
        self.session_list = SessionList(self._own_channel, self.pool, stats=stats, clock=self.clock)
        self._reports = None if report is None else ReportDesk(report, self.clock)
        self._viewers: set[Viewer] = set()
        self._broadcasters: dict[str, Broadcaster] = {}
        self.read_pacing = ReadPacing()
        self.turns = Turns(self.clock)
        self.refusals = Refusals(stats, self.clock)
        self.large = LargeMessages()
        self._status = ServerStatus(
            engine=self._engine,
            runner=runner,
            channel=self._own_channel,
            pool=self.pool,
            stats=stats,
            refusals=self.refusals,
            show=self.show,
            viewers=lambda: self.viewers,
            draining=lambda: self.draining != "",
            uptime_s=lambda: self.uptime_s,
        )
        more = (self.config.frames(), self.config.stage_scenes)
        self._site = Site("mer_web", _page_files(), self._status.pages(), *more)
        # For clients without a token.
        self._public_site = Site("mer_web", _page_files(), self._status.public_pages(), *more)
        tls = self.config.tls
        self._tls = None if tls is None else TlsHandshakes(tls.context, self.turns, self.refusals)
        self.fast_audio = fast_audio_limit(self.clock)
        self.taps = tap_limit(self.clock)
        self.door: Door | None = None
        self.draining = ""
        self._left = asyncio.Event()  # a viewer
        self.peak_viewers = 0
        self._started_at = self.clock.monotonic()
        self._server: SocketServer | None = None
        self._health_task: asyncio.Task[None] | None = None
        self._show_is_due = False
        self._show_sent_at = 0.0  # of the event loop's time
        self._certificate_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind the port and start serving.

        Raises:
            UserError: the port is in use, the address is not one of this machine, or the process
                may not open enough files for the viewers.
        """
        max_pending = pending_connections(self.config.max_viewers)
        listener = open_listener(self.config.host, self.config.port)
        if can_stand_in():
            self.door = Door(
                listener,
                max_pending=max_pending,
                timeout_s=OPEN_TIMEOUT_S,
                turns=self.turns,
                refusals=self.refusals,
            )
        limits = ConnectionLimits(self.turns, self.refusals, self.clock, self.large, self.door)
        self._started_at = self.clock.monotonic()
        self._server = await serve(
            self._handle,
            sock=listener if self.door is None else self.door,
            backlog=LISTEN_BACKLOG,
            process_request=self._process_request,
            process_response=self._process_response,
            # Messages are short and latency matters; a compressor takes 64 kB per connection.
            compression=None,
            max_size=protocol.MAX_MESSAGE_BYTES,
            max_queue=RECEIVE_QUEUE_FRAMES,
            write_limit=WRITE_LIMIT_BYTES,
            open_timeout=OPEN_TIMEOUT_S,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=CLOSE_TIMEOUT_S,
            create_connection=cast(
                type[ServerConnection], partial(self._make_connection, limits=limits)
            ),
            server_header=f"realtime-mer/{__version__}",
            logger=_library_logger(),
        )
        self._health_task = asyncio.create_task(self._send_periodic_health())
        self.show.on_change(partial(self._show_changed, asyncio.get_running_loop()))
        if self.config.tls is not None:
            self._certificate_task = asyncio.create_task(self._renew_certificate(self.config.tls))

    def _make_connection(
        self, *args: Any, limits: ConnectionLimits, **kwargs: Any
    ) -> asyncio.Protocol:
        connection = AudioConnection(
            *args, answer_unparsed=self._answer_unparsed, limits=limits, **kwargs
        )
        return connection if self._tls is None else self._tls.guard(connection)

    async def _renew_certificate(self, tls: ServerTls) -> None:
        """Use a renewed certificate for new connections; the open ones keep theirs."""
        while True:
            await asyncio.sleep(CERTIFICATE_CHECK_S)
            message = await asyncio.to_thread(tls.reload)
            if message is not None:
                logger.warning("%s", message)

    async def drain(self) -> None:
        """Tell every client to move to another server, take no new one, and wait until all left.

        `/readyz` is 503 from now on. Waits at most for `ServerConfig.drain_s`; a cancelled call
        leaves the server as it is. `stop` then closes what is left.
        """
        closes_in_s = self.config.drain_s
        self.draining = (
            "this server is going away and takes nobody any more: connect again to reach another "
            "one, or this one after its restart"
        )
        message = EncodedMessage.from_text(protocol.dump(protocol.going_away(closes_in_s)))
        for viewer in tuple(self._viewers):
            viewer.announce(message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(closes_in_s):
                while self._viewers:
                    self._left.clear()
                    await self._left.wait()

    async def stop(self) -> None:
        """Close every connection (1001) and release the port; safe to call twice."""
        if self._health_task is not None:
            self._health_task.cancel()
            self._health_task = None
        if self._certificate_task is not None:
            self._certificate_task.cancel()
            self._certificate_task = None
        self.session_list.close()
        if self._server is not None:
            server, self._server = self._server, None
            # A closing handshake would never finish with a viewer that reads nothing.
            for viewer in self._viewers:
                if viewer.backlog_bytes:
                    viewer.abort()
            if self.door is not None:
                await self.door.shut()
            server.close()
            if self._tls is not None:
                self._tls.close()
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S + 1.0):
                    await server.wait_closed()
            except TimeoutError:
                for viewer in self._viewers:
                    viewer.abort()
                await server.wait_closed()
        if self.door is not None:
            await self.door.wait_empty(CLOSE_TIMEOUT_S)
        await asyncio.to_thread(self.pool.close)

    async def flush(self, timeout_s: float) -> None:
        """Wait until everything published so far has been sent, at most for the timeout."""
        drains = [asyncio.create_task(viewer.drain()) for viewer in self._viewers]
        if drains:
            _, pending = await asyncio.wait(drains, timeout=timeout_s)
            for task in pending:
                task.cancel()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """The bound port."""
        if self._server is None:
            raise RuntimeError("the server has not been started")
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Address of the page for a browser on this machine."""
        return self._page_url(DEFAULT_HOST if self._binds_all else self.config.host)

    @property
    def network_urls(self) -> list[str]:
        """Addresses of the page for other devices, the most likely one first.

        Empty where the server binds one address, which `url` names.
        """
        if not self._binds_all:
            return []
        return [self._page_url(host) for host in own_addresses(ipv6=self.config.host == "::")]

    @property
    def uses_tls(self) -> bool:
        """Whether the server itself speaks https."""
        return self.config.tls is not None

    @property
    def _binds_all(self) -> bool:
        return self.config.host in ("", "0.0.0.0", "::")

    def _page_url(self, host: str) -> str:
        return f"{self._scheme}://{bracketed(host)}:{self.port}/"

    def link(self, role: Role, url: str) -> str:
        """Make a link that opens the page once with a role; the server must have tokens.

        Args:
            role: what the link gives.
            url: `url` or one of `network_urls`.
        """
        assert self._authenticator is not None
        return f"{url}enter?code={self._authenticator.new_code(role)}"

    def on_link_used(self, call: Callable[[Role], None]) -> None:
        """Call a function with the role of each link when it is used."""
        assert self._authenticator is not None
        self._authenticator.on_link_used = call

    @property
    def viewers(self) -> int:
        """Number of websocket connections."""
        return len(self._viewers)

    @property
    def uptime_s(self) -> float:
        """Seconds since the server started."""
        return self.clock.monotonic() - self._started_at

    @property
    def session(self) -> str:
        """Name of the server's own session."""
        return self._own_channel.session

    @property
    def backend_note(self) -> str:
        """A warning about the backend, for example that a faster one failed; usually empty."""
        return backend_warning(self._engine)

    def _make_own_channel(self) -> Channel:
        session = secrets.token_urlsafe(9)
        if self._runner is None:
            return Channel(
                session, Hub(hop_s=self._pipeline_config.hop_s), Stats(), BROWSER_INPUT, None
            )
        runner = self._runner
        return Channel(session, runner.hub, runner.stats, runner.info, None)

    def standing(self, channel: Channel) -> list[Notice]:
        """Return the notices of a channel that still hold, see `LiveStream.standing`."""
        if channel.client is not None:
            return channel.client.stream.standing
        return self._runner.standing if isinstance(self._runner, LiveRunner) else []

    def channel(self, session: str | None) -> Channel:
        """Return the channel of a client's session, or the server's own for any other name."""
        if session is not None and (client := self.pool.get(session)) is not None:
            return Channel(client.session, client.hub, client.stats, client.info, client)
        return self._own_channel

    def find_channel(self, session: str | None) -> Channel | None:
        """Return a channel that others may follow, the server's own for None; None if unknown."""
        channel = self.channel(session)
        if channel.client is None:
            return channel if session in (None, channel.session) else None
        return None if channel.client.private else channel

    def subscribe(self, viewer: Viewer, channel: Channel) -> Broadcaster:
        """Add a viewer to the broadcaster of a channel, which the first viewer creates."""
        broadcaster = self._broadcasters.get(channel.session)
        if broadcaster is None:
            broadcaster = self._broadcasters[channel.session] = Broadcaster(
                channel,
                health=partial(self._health, channel),
                stats=self.stats,
                clock=self.clock,
            )
        broadcaster.add(viewer)
        return broadcaster

    def unsubscribe(self, viewer: Viewer, broadcaster: Broadcaster) -> None:
        """Remove a viewer from a broadcaster, which closes after the last one."""
        broadcaster.remove(viewer)
        if not broadcaster:
            broadcaster.close()
            self._broadcasters.pop(broadcaster.channel.session, None)

    def hello(self, channel: Channel, role: Role) -> dict[str, object]:
        """Build the hello message of a channel for a client with a role."""
        info = self._engine.info
        lag_order = self._pipeline_config.lag_order or info.lag_order_default
        if channel is self._own_channel and isinstance(self._runner, Replay):
            return self._recorded_hello(self._runner, role)
        return protocol.hello(
            session=channel.session,
            model={"name": info.name, "version": info.version, "sha256": info.sha256},
            hop_s=self._pipeline_config.hop_s,
            lag_order=lag_order,
            window_s=lag_order * info.step_s,
            coverage=info.coverage,
            value_range=self._value_range,
            adapt=self._pipeline_config.adapt,
            input_info=channel.info,
            backend=self._engine.backend,
            backend_note=self.backend_note,
            role=role,
            recording=self._recorded and channel.client is None,
            utc=iso_utc(self.clock.utc()),
            target=self._target,
        )

    def _recorded_hello(self, replay: Replay, role: Role) -> dict[str, object]:
        """Build the hello of a replay: it tells of the recording, not of this server's engine."""
        recorded = replay.session
        assert recorded is not None
        return protocol.hello(
            session=self._own_channel.session,
            model=recorded.model,
            hop_s=recorded.hop_s,
            lag_order=round(recorded.window_s / self._engine.info.step_s),
            window_s=recorded.window_s,
            coverage=recorded.coverage,
            value_range=recorded.value_range,
            adapt=recorded.adapt,
            input_info=recorded.info,
            backend=recorded.backend,
            role=role,
            recording=False,
            utc=iso_utc(self.clock.utc()),
            target=self._target,
            speed=replay.speed,
        )

    def broadcast_health_if_changed(self) -> None:
        """Send the health to the viewers of every channel where it has changed."""
        for broadcaster in self._broadcasters.values():
            broadcaster.broadcast_health_if_changed()

    def _health(self, channel: Channel) -> dict[str, object]:
        return protocol.health(
            channel.session,
            channel.stats.losses(),
            viewers=len(self._viewers),
            sessions=len(self.pool),
            uptime_s=self.uptime_s,
            show=self.show,
            person=None if self.person is None else self.person.map,
        )

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, AudioConnection)
        if not connection.authenticated and not await self._receive_token(connection):
            return
        if self.draining:
            await self._turn_away(
                connection,
                WireError(ErrorCode.GOING_AWAY, self.draining),
                protocol.CloseCode.RESTART,
                "the server is going away",
            )
            return
        full = len(self._viewers) >= self.config.max_viewers
        if full and not self._make_room(connection.address):
            self.refusals.limited(Limit.VIEWERS, connection.address, "too many viewers")
            limit = self.config.max_viewers
            message = (
                f"this server takes at most {limit} {'viewer' if limit == 1 else 'viewers'} at "
                "once; try again later or start it with a larger --max-viewers"
            )
            await self._turn_away(
                connection,
                WireError(ErrorCode.TOO_MANY_VIEWERS, message),
                protocol.CloseCode.TRY_AGAIN_LATER,
                "too many viewers",
            )
            return
        assert connection.request is not None
        target = Target.parse(connection.request.path)
        assert target is not None
        session, since = _parse_resume(target)
        connection.opened()
        viewer = Viewer(self, connection, session, since)
        self._viewers.add(viewer)
        self.peak_viewers = max(self.peak_viewers, len(self._viewers))
        self.stats.add(Counter.CONNECTIONS)
        self.broadcast_health_if_changed()
        try:
            await viewer.run()
        finally:
            self._viewers.discard(viewer)
            self._left.set()
            self.broadcast_health_if_changed()

    async def _turn_away(
        self, connection: AudioConnection, error: WireError, code: int, reason: str
    ) -> None:
        """Tell a newcomer why there is no place for it, and close its connection."""
        with contextlib.suppress(ConnectionClosed):
            await connection.send(protocol.dump(protocol.error(error.code, str(error))))
            await connection.close(code, reason)

    async def _receive_token(self, connection: AudioConnection) -> bool:
        """Wait for the token of a websocket without a credential; close it without a valid one."""
        try:
            try:
                async with asyncio.timeout(authentication.AUTH_TIMEOUT_S):
                    text = await connection.recv()
                message = protocol.parse(text) if isinstance(text, str) else None
                if not isinstance(message, protocol.Auth):
                    raise WireError(ErrorCode.UNAUTHORIZED, _TOKEN_FIRST)
                self.authenticate(connection, message.token)
                connection.message_handled()
            except (TimeoutError, WireError) as error:
                code = ErrorCode.UNAUTHORIZED
                known = isinstance(error, WireError) and error.code is code
                sentence = str(error) if known else _TOKEN_FIRST
                self._note_refusal(connection, HTTPStatus.UNAUTHORIZED, sentence)
                await connection.send(protocol.dump(protocol.error(code, sentence)))
                await connection.close(protocol.CloseCode.POLICY, "unauthorized")
        except ConnectionClosed:
            return False
        return connection.authenticated

    def authenticate(self, connection: AudioConnection, token: str) -> bool:
        """Give a connection the role of a token; return whether it may do more than before.

        Raises:
            WireError: the token is wrong, or too many were.
        """
        if self._authenticator is None:
            return False
        role = self._authenticator.check_token(token, self._address(connection))
        if connection.role is not None and connection.role.includes(role):
            return False
        connection.role = role
        return True

    def _address(self, connection: ServerConnection) -> str:
        """Return the address of a client."""
        known = self.proxies.client_address(connection, connection.request)
        return known or "a closed connection"

    def _make_room(self, address: str) -> bool:
        """Let a viewer go for a newcomer of this address; return whether there was one to go."""
        leaving = gives_way(self._viewers, address)
        if leaving is None:
            return False
        self._viewers.discard(leaving)
        leaving.give_way(Limit.VIEWERS, "too many viewers from your address")
        return True

    def make_room_for_stream(self, address: str) -> bool:
        """Let a streaming client go for one of this address; return whether there was one."""
        streaming = [viewer for viewer in self._viewers if viewer.streaming]
        leaving = gives_way(streaming, address)
        if leaving is None:
            return False
        leaving.give_way(Limit.SESSIONS, "too many streams from your address")
        return True

    def _process_request(
        self, connection: ServerConnection, request: Request
    ) -> Awaitable[Response] | Response | None:
        assert isinstance(connection, AudioConnection)
        if address := self.proxies.client_address(connection, request):
            connection.address = network_of(address)
        with self.turns.work(connection.address):
            return self._respond(connection, request)

    def _respond(
        self, connection: AudioConnection, request: Request
    ) -> Awaitable[Response] | Response | None:
        target = Target.parse(request.path)
        if target is None:
            sentence = "the target of a request is a path, such as /, or a whole URL\n"
            no_target = Refusal(HTTPStatus.BAD_REQUEST, sentence)
            return self._refuse(connection, check_method(request) or no_target)
        refused = self._access.check_host(request, target) or check_method(request)
        if refused is None and self.uses_tls and not is_encrypted(connection):
            refused = to_https(request, target)
        if refused is None and self.draining and target.path not in STATUS_PAGES:
            # A proxy asks another server then.
            refused = Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{self.draining}\n", {"Retry-After": "1"}
            )
        role: Role | None = Role.CONTROL
        if refused is None and self._authenticator is not None:
            found = self._authenticator.check_request(request, self._address(connection))
            if isinstance(found, Refusal):
                refused, role = found, None
            else:
                role = found
        if refused is None and target.path == "/enter" and self._authenticator is not None:
            return self._enter(connection, request, target)
        if refused is None and target.path in ("/metrics", REPORT_PATH) and role is None:
            refused = UNAUTHORIZED
        if refused is None and target.path == "/ws":
            scheme = self.proxies.scheme(connection, request)
            refused = (
                self._access.check_origin(request, target, scheme)
                or check_upgrade(request)
                or _check_resume(target)
            )
            if refused is None:
                connection.role = role
                return None
        if refused is not None:
            return self._refuse(connection, refused)
        self.stats.add(Counter.HTTP_REQUESTS)
        if target.path == REPORT_PATH and self._reports is not None:
            return self._report(self._reports, request, target)
        try:
            site = self._public_site if role is None else self._site
            response = site.respond(request, target.path)
        except Exception:
            logger.exception("the response to %s failed", target.path)
            return refusal(_INTERNAL_ERROR)
        works = {"/healthz": self.healthy, "/readyz": self._status.ready}
        if not works.get(target.path, True):
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE.value
            response.reason_phrase = HTTPStatus.SERVICE_UNAVAILABLE.phrase
        self._demand_https(request, response)
        return response

    async def _report(self, reports: ReportDesk, request: Request, target: Target) -> Response:
        """Answer a request for the report of a session; without a name, of the server's own."""
        session = next(iter(target.query.get("session", ())), None)
        channel = self.find_channel(session)
        if channel is None:
            sentence = "there is no such session; it has ended, or it is private\n"
            return refusal(Refusal(HTTPStatus.NOT_FOUND, sentence), request)
        try:
            page = await reports.ask(channel)
        except UserError as error:
            return refusal(Refusal(HTTPStatus.CONFLICT, f"{error}\n"), request)
        except Exception:
            logger.exception("a report failed")
            return refusal(_INTERNAL_ERROR, request)
        if page is None:
            return refusal(_REPORT_IS_MADE, request)
        name = f"realtime-mer-{self.clock.utc().astimezone():%Y-%m-%d-%H%M}.html"
        response = attachment("text/html; charset=utf-8", name, page, request)
        self._demand_https(request, response)
        return response

    def _demand_https(self, request: Request, response: Response) -> None:
        """Tell browsers to ask this host in https only, where its certificate is a real one."""
        tls = self.config.tls
        if tls is not None and not tls.self_signed and not is_loopback(_host_name(request)):
            response.headers["Strict-Transport-Security"] = STRICT_TRANSPORT

    def _enter(self, connection: ServerConnection, request: Request, target: Target) -> Response:
        assert self._authenticator is not None
        answer = self._authenticator.enter(
            request,
            target,
            self._address(connection),
            secure=self.proxies.scheme(connection, request) == "https",
        )
        if isinstance(answer, Refusal):
            self._note_refusal(connection, answer.status, answer.message)
            return sentence_page(answer, request)
        self.stats.add(Counter.HTTP_REQUESTS)
        return answer

    def _process_response(
        self, connection: ServerConnection, request: Request, response: Response
    ) -> Response | None:
        """Give our reason where the library refuses a websocket."""
        error = connection.protocol.handshake_exc
        if error is None or not connection.protocol.accept_called:
            return None
        return self._refuse(connection, handshake_refusal(error))

    def _answer_unparsed(
        self, connection: AudioConnection, head: bytes, error: Exception
    ) -> Response:
        return self._refuse(connection, unparsed_refusal(head, error, self._scheme))

    def _refuse(self, connection: ServerConnection, refused: Refusal) -> Response:
        self._note_refusal(connection, refused.status, refused.message)
        return refusal(refused, connection.request)

    def _note_refusal(self, connection: ServerConnection, status: HTTPStatus, message: str) -> None:
        """Count a refusal, and log it unless one of its status was logged just now."""
        self.refusals.log(
            str(status),
            "refused a request from %s (%d): %s",
            self._address(connection),
            status,
            message.strip(),
        )

    @property
    def healthy(self) -> bool:
        """Whether the server does its work, see `ServerStatus`."""
        return self._status.healthy

    @property
    def stuck(self) -> str:
        """After `stop`: what to tell the user if the engine keeps a thread; mostly empty."""
        error = None if self._runner is None else self._runner.error
        return str(error) if isinstance(error, EngineError) else self.pool.stuck

    def _show_changed(self, loop: asyncio.AbstractEventLoop) -> None:
        # Runs in the thread of the command; the loop may have ended.
        if not self._show_is_due:
            self._show_is_due = True
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._broadcast_show, loop)

    def _broadcast_show(self, loop: asyncio.AbstractEventLoop) -> None:
        due_at = self._show_sent_at + SHOW_PERIOD_S
        if loop.time() < due_at:
            loop.call_at(due_at, self._broadcast_show, loop)
            return
        # Before the state is read: what changes from now on is another broadcast.
        self._show_is_due = False
        self._show_sent_at = loop.time()
        self.broadcast_health()

    def broadcast_health(self) -> None:
        """Send the health to all viewers."""
        for broadcaster in self._broadcasters.values():
            broadcaster.broadcast_health()

    async def _send_periodic_health(self) -> None:
        published_note = self.backend_note
        clock_watch = ClockWatch(self.clock)
        while True:
            await asyncio.sleep(HEALTH_PERIOD_S)
            for notice in clock_watch.look().notices:
                self._publish_to_clients(notice)
            if self.backend_note != published_note:
                published_note = self.backend_note
                self._publish_to_all(Notice(BACKEND_NOTICE, published_note))
            self.broadcast_health()
            if self.large.burst_is_over():
                await asyncio.to_thread(freed_memory.give_back)

    def _publish_to_all(self, notice: Notice) -> None:
        """Publish in the server's own session and in every session of a client."""
        self._own_channel.hub.publish(notice)
        for broadcaster in self._broadcasters.values():
            if broadcaster.channel is not self._own_channel:
                broadcaster.channel.hub.publish(notice)

    def _publish_to_clients(self, notice: Notice) -> None:
        """Publish in every session; the runner does so in its own."""
        for broadcaster in self._broadcasters.values():
            if self._runner is None or broadcaster.channel is not self._own_channel:
                broadcaster.channel.hub.publish(notice)


def binding_warning(host: str, *, proxied: bool = False) -> str | None:
    """Return what a server without tokens opens to other machines; None if they cannot reach it.

    Args:
        host: what it binds.
        proxied: whether a proxy passes requests on to it.
    """
    if is_loopback(host):
        if proxied:
            return (
                "no token behind the proxy: everyone whom it lets pass can watch, send audio, and "
                "read the metrics"
            )
        return None
    return (
        f"binding {host} without a token: every device that can reach this machine can watch, "
        "send audio, and read the metrics"
    )


def _host_name(request: Request) -> str:
    """Return the name of the request's `Host`, which was checked, without the port."""
    return urlsplit(f"//{request.headers['Host']}").hostname or ""


def _page_files() -> Mapping[str, tuple[str, str]]:
    from mer_web import FILES

    return FILES


def _parse_resume(target: Target) -> tuple[str | None, int]:
    """Parse the requested session and the last `seq` that the client has.

    Raises:
        ValueError: `since` is not an integer of at least -1.
    """
    session = next(iter(target.query.get("session", ())), None)
    since = int(next(iter(target.query.get("since", ())), "-1"))
    if since < -1:
        raise ValueError(since)
    return session, since


def _check_resume(target: Target) -> Refusal | None:
    try:
        _parse_resume(target)
    except ValueError:
        return Refusal(
            HTTPStatus.BAD_REQUEST, "since must be an integer, the last seq that was received\n"
        )
    return None


def _library_logger() -> logging.Logger:
    # The library logs every port scan and every broken handshake as an error with a traceback.
    library_logger = logging.getLogger("realtime_mer.websockets")
    library_logger.setLevel(logging.CRITICAL)
    return library_logger
