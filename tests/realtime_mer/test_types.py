import json

from realtime_mer.types import Estimate, Latency, State

EXAMPLE = Estimate(
    seq=3,
    t=4.0,
    utc="2026-01-02T03:04:05.000Z",
    valence=0.12345678,
    arousal=-0.5,
    valence_low=-0.1,
    valence_high=0.3,
    arousal_low=-0.7,
    arousal_high=-0.3,
    mood="still",
    state=State.SETTLING,
    level_db=-20.123,
    latency=Latency(10.0, 5.4321987, 1.0, 0.0),
)


def test_the_wire_names_and_their_order() -> None:
    wire = json.loads(json.dumps(EXAMPLE.to_dict()))
    assert list(wire) == [
        "type", "seq", "t", "utc", "valence", "arousal", "valence_low", "valence_high",
        "arousal_low", "arousal_high", "mood", "state", "level_db", "latency",
    ]  # fmt: skip
    assert wire["type"] == "estimate"
    assert wire["state"] == "settling"
    assert wire["valence"] == 0.123457
    assert list(wire["latency"]) == ["window_s", "buffer_ms", "compute_ms", "queue_ms"]
