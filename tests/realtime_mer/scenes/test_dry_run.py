from dataclasses import replace

from support import ESTIMATE

from realtime_mer.core.change_detector import ChangeDetector
from realtime_mer.core.events import Event
from realtime_mer.core.types import Estimate, State
from realtime_mer.scenes.dry_run import dry_run
from realtime_mer.scenes.settings import SceneSettings

MOODS = ["calm", "calm", "tense", "tense", "tense", "calm", "calm"]
ESTIMATES = [
    replace(ESTIMATE, seq=seq, t=seq + 1.0, mood=mood, state=State.TRACKING)
    for seq, mood in enumerate(MOODS)
]
SCENES = [
    SceneSettings(name="storm", when={"mood": "tense", "for_s": 1}, dwell_s=0, quantise="bar"),
    SceneSettings(name="calm", when={"mood": "calm"}, dwell_s=3),
    SceneSettings(name="leaves", when={"event": "mood_leave", "mood": "tense"}, priority=1),
]


def rows(*, why_not: bool) -> list[str]:
    changes = ChangeDetector()
    items: list[Estimate | Event] = []
    for estimate in ESTIMATES:
        items += [estimate, *changes.add(estimate)]
    found = dry_run(SCENES, items, why_not=why_not)
    return [f"{row.t:g} {row.scene} {row.what}: {row.reason}" for row in found]


def test_what_starts_and_ends() -> None:
    assert rows(why_not=False) == [
        "1 calm starts: mood is calm",
        "4 calm ends: mood is tense, not calm",
        "4 storm starts: mood is tense",
        "6 storm ends: mood is calm, not tense",
        "6 calm starts: mood is calm",
        "6 calm ends: leaves starts",
        "6 leaves starts: mood_leave now, mood is tense",
        "7 leaves stays: the recording ends",
    ]


def test_why_others_do_not_start_is_told_as_often_as_the_reason_changes() -> None:
    text = rows(why_not=True)
    assert [row for row in text if " storm " in row] == [
        "1 storm not: mood is calm, not tense",
        "3 storm not: mood is tense, but only for 0 of 1 s",
        "4 storm starts: mood is tense",
        "6 storm ends: mood is calm, not tense",
    ]
    assert [row for row in text if " calm " in row] == [
        "1 calm starts: mood is calm",
        "3 calm stays: active for another 1 s (dwell): mood is tense, not calm",
        "4 calm ends: mood is tense, not calm",
        "6 calm starts: mood is calm",
        "6 calm ends: leaves starts",
    ]
