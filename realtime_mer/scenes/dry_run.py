"""Scenes over a recording, at full speed: which would have started when, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from realtime_mer.core.events import Event
from realtime_mer.core.types import Estimate
from realtime_mer.scenes.rules import SceneRules
from realtime_mer.scenes.settings import SceneSettings


@dataclass(frozen=True, slots=True)
class DryRunRow:
    """What happens at one moment of a dry run.

    Attributes:
        t: stream time in seconds.
        scene: name of the scene.
        what: "starts", "ends", "stays", or "not" where it does not start.
        reason: in words.
    """

    t: float
    scene: str
    what: str
    reason: str


def dry_run(
    scenes: Sequence[SceneSettings], items: Iterable[Estimate | Event], *, why_not: bool = False
) -> Iterator[DryRunRow]:
    """Return what scenes do while estimates and events come. Starts do not wait for beats.

    Args:
        scenes: their settings.
        items: in order of time.
        why_not: also tell why scenes do not start or end, each time that the reason changes.

    Raises:
        UserError: two scenes have the same name, or an estimate cannot be read.
    """
    rules = SceneRules(scenes)
    told = {name: finding.key for name, finding in rules.findings.items()}
    t = 0.0
    for item in items:
        for change in rules.update(item):
            what = "starts" if change.starts else "ends"
            yield DryRunRow(change.t, change.scene.name, what, change.reason)
            told[change.scene.name] = rules.findings[change.scene.name].key
        t = item.t if isinstance(item, Estimate) else item.detected_t
        for name, finding in rules.findings.items():
            if finding.key == told[name]:
                continue
            told[name] = finding.key
            if why_not and finding.key != "active":
                yield DryRunRow(t, name, "stays" if finding.holds else "not", finding.text)
    if rules.active is not None:
        yield DryRunRow(t, rules.active, "stays", "the recording ends")
