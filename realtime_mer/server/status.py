"""What the server says of itself: /healthz and /metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from realtime_mer import __version__
from realtime_mer.audio.source import SourceLost
from realtime_mer.live.engine_watch import EngineWatch
from realtime_mer.live.replay import Replay
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.session_pool import SessionPool
from realtime_mer.live.show import Show
from realtime_mer.live.stats import Stats
from realtime_mer.server import metrics, protocol
from realtime_mer.server.channel import Channel
from realtime_mer.server.http import Page
from realtime_mer.server.limits import Refusals


class ServerStatus:
    """The state of a server, for people, programs and service managers.

    Args:
        engine: of all streams.
        runner: of the server's own input, or its replay; None where only clients send audio.
        channel: the server's own.
        pool: the sessions of clients.
        stats: counters of the whole server.
        refusals: counts of what was refused.
        show: the outputs.
        viewers: returns the number of websocket connections.
        draining: returns whether the server goes away and takes nobody any more.
        uptime_s: returns the seconds since the start.
    """

    def __init__(
        self,
        *,
        engine: EngineWatch,
        runner: LiveRunner | Replay | None,
        channel: Channel,
        pool: SessionPool,
        stats: Stats,
        refusals: Refusals,
        show: Show,
        viewers: Callable[[], int],
        draining: Callable[[], bool],
        uptime_s: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._runner = runner
        self._channel = channel
        self._pool = pool
        self._stats = stats
        self._refusals = refusals
        self._show = show
        self._viewers = viewers
        self._draining = draining
        self._uptime_s = uptime_s

    @property
    def healthy(self) -> bool:
        """Whether the server does its work: its engine works, and no fault ended its own input.

        An input that brings no audio, has ended or was lost is no fault of the server.
        """
        error = self._runner.error if isinstance(self._runner, LiveRunner) else None
        return self._engine.works and (error is None or isinstance(error, SourceLost))

    @property
    def word(self) -> str:
        """`listening`, `stalled`, `ended`, or `waiting` for clients."""
        runner = self._runner
        if not self._engine.works:
            return "stalled"
        if runner is None:
            return "waiting"
        if runner.ended:
            return "ended"
        stalled = isinstance(runner, LiveRunner) and runner.stalled
        return "stalled" if stalled else "listening"

    @property
    def ready(self) -> bool:
        """Whether new clients may come: the server does its work and does not go away."""
        return self.healthy and not self._draining()

    def pages(self) -> Mapping[str, Page]:
        """Return the functions that make the pages, by path."""
        return {
            "/readyz": self._readiness,
            "/healthz": lambda: _json_page(self._health()),
            "/metrics": lambda: (metrics.CONTENT_TYPE, self._metrics().encode()),
        }

    def public_pages(self) -> Mapping[str, Page]:
        """Return the pages for clients without a token."""
        return {
            "/readyz": self._readiness,
            "/healthz": lambda: _json_page({"status": self.word, "token": "required"}),
        }

    def _readiness(self) -> tuple[str, bytes]:
        word = "ready" if self.ready else "draining" if self.healthy else "stalled"
        return _json_page({"status": word})

    def _health(self) -> dict[str, object]:
        latest = self._channel.hub.latest
        return {
            "status": self.word,
            "version": __version__,
            "model": self._model,
            "backend": self._engine.backend,
            "input": protocol.input_object(self._channel.info),
            "uptime_s": round(self._uptime_s(), 1),
            "viewers": self._viewers(),
            "sessions": len(self._pool),
            "counters": self._stats.losses(),
            "outputs": [status.to_dict() for status in self._show.statuses()],
            "latest": None if latest is None else latest.to_dict(),
        }

    def _metrics(self) -> str:
        gauges: list[tuple[str, str, float]] = [
            ("viewers", "Websocket connections.", self._viewers()),
            ("sessions", "Audio streams of clients.", len(self._pool)),
            (
                "slowed_sessions",
                "Audio streams whose estimates come less often because the server is busy.",
                self._pool.slowed,
            ),
            ("draining", "1 while the server goes away and takes nobody.", self._draining()),
            ("engine_works", "1 while calls of the engine return results.", self._engine.works),
            ("uptime_seconds", "Since the server started.", self._uptime_s()),
            ("listening", "1 while audio arrives from the input.", self.word == "listening"),
        ]
        latest = self._channel.hub.latest
        if latest is not None:
            gauges += [
                ("valence", "Newest valence, -1 to 1.", latest.valence),
                ("arousal", "Newest arousal, -1 to 1.", latest.arousal),
                ("level_db", "Level of the last hop, dBFS.", latest.level_db),
                ("stream_seconds", "Stream time of the newest estimate.", latest.t),
            ]
        return metrics.render(
            self._stats,
            gauges=[(name, text, float(value)) for name, text, value in gauges],
            info={"version": __version__, "model": self._model, "backend": self._engine.backend},
            limited={str(kind): count for kind, count in self._refusals.counts.items()},
            windows=self._engine.windows,
            outputs=self._show.statuses(),
        )

    @property
    def _model(self) -> str:
        info = self._engine.info
        return f"{info.name} {info.version}"


def _json_page(content: Mapping[str, object]) -> tuple[str, bytes]:
    return "application/json", json.dumps(content, indent=2, allow_nan=False).encode() + b"\n"
