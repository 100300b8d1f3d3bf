import json

from support import ESTIMATE


def test_the_wire_names_and_their_order() -> None:
    wire = json.loads(json.dumps(ESTIMATE.to_dict()))
    assert list(wire) == [
        "type", "seq", "t", "utc", "valence", "arousal", "valence_low", "valence_high",
        "arousal_low", "arousal_high", "mood", "state", "level_db", "latency",
    ]  # fmt: skip
    assert wire["type"] == "estimate"
    assert wire["state"] == "settling"
    assert wire["valence"] == 0.123457
    assert list(wire["latency"]) == ["window_s", "buffer_ms", "compute_ms", "queue_ms"]
