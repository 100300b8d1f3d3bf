"""The report of a session that goes on, which the page offers as a download."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from realtime_mer.clock import duration_text
from realtime_mer.errors import UserError

if TYPE_CHECKING:
    from mer_engine import Engine

    from realtime_mer.core.config import PipelineConfig
    from realtime_mer.core.target import TargetTrajectory
    from realtime_mer.report.session import Session
    from realtime_mer.server.channel import Channel


class LiveReport:
    """Makes reports: of the whole recording, or of the minutes that the server holds.

    Callable from any thread.

    Args:
        engine: of the server.
        config: of its pipelines.
        recording: of the server's own session; None where it is not recorded.
        target: the way that this session is meant to take.
    """

    def __init__(
        self,
        engine: Engine,
        config: PipelineConfig,
        *,
        recording: Path | None = None,
        target: TargetTrajectory | None = None,
    ) -> None:
        self._engine = engine
        self._config = config
        self._recording = recording
        self._target = target

    def __call__(self, channel: Channel) -> str:
        """Return the page.

        Raises:
            UserError: the session has no estimate yet.
        """
        from realtime_mer.report.page import report_page

        own = channel.client is None
        session = self._recorded(channel) if own and self._recording is not None else None
        if session is None:
            session = self._held(channel)
        return report_page(session, target=session.target or (self._target if own else None))

    def _recorded(self, channel: Channel) -> Session | None:
        """Read the recording; None where it holds nothing yet, or cannot be read now."""
        from realtime_mer.report.session import read_session

        assert self._recording is not None
        try:
            session = read_session(self._recording)
        except UserError:
            return None
        # Not that of the folder, which may be a patient's: everyone who may watch reads it.
        session.name = channel.info.name
        return session

    def _held(self, channel: Channel) -> Session:
        """Return what the hub still has, as a session of its own.

        Raises:
            UserError: it has no estimate.
        """
        from realtime_mer.recording.header import header_of
        from realtime_mer.recording.lines import Losses, RecordedItem
        from realtime_mer.recording.reader import moved
        from realtime_mer.report.session import Session, moment_of

        estimates, _ = channel.hub.history()
        if not estimates:
            raise UserError(
                "there is nothing to report yet: no estimate has come; ask again when music plays"
            )
        hop_s, first, last = self._config.hop_s, estimates[0], estimates[-1]
        is_cut = first.seq > 0
        start_s = max(0.0, first.t - hop_s) if is_cut else 0.0
        items: list[RecordedItem] = sorted(
            (moved(item, 0, -start_s) for item in (*estimates, *channel.hub.remarks())),
            key=lambda item: item.t,
        )
        items = [item for item in items if item.t >= 0.0]
        losses = channel.stats.losses()
        if any(losses.values()):
            items.append(Losses(last.t - start_s, last.utc, losses))
        began = moment_of(first.utc) or datetime.now(UTC)
        header = header_of(
            model=self._engine.info,
            backend=self._engine.backend,
            config=self._config,
            source=channel.info,
            started=began - timedelta(seconds=first.t - start_s),
            configuration={},
        )
        return Session(
            channel.info.name,
            items,
            hop_s=hop_s,
            header=header,
            remark=self._remark(channel, last.t - start_s) if is_cut else "",
        )

    def _remark(self, channel: Channel, held_s: float) -> str:
        held = duration_text(held_s)
        if channel.client is not None:
            how = "it never records what browsers and programs send"
        elif self._recording is not None:
            how = "the recording cannot be read at the moment"
        else:
            how = "start it with --record DIR to get whole sessions"
        return f"only the last {held} are here, which is what the server keeps in memory; {how}"
