"""How the outputs do, in one line of the terminal."""

from __future__ import annotations

from realtime_mer.live.show import Health, OutputStatus, outputs_text


def test_outputs_text_is_short_and_begins_with_what_fails() -> None:
    def status(name: str, health: Health) -> OutputStatus:
        return OutputStatus(name, "osc", health, 0, 0, "gone" if health is Health.FAILING else "")

    statuses = [
        status("a", Health.OK),
        status("b", Health.MUTED),
        status("c" * 50, Health.FAILING),
        *(status(name, Health.FAILING) for name in "def"),
    ]
    assert outputs_text(statuses) == (
        f"1 of 6 outputs ok; {'c' * 29}… failing (gone); d failing (gone); e failing (gone); "
        "2 more not ok; 0 sent, 0 dropped"
    )
    assert outputs_text(statuses[:2]) == "1 of 2 outputs ok; b muted; 0 sent, 0 dropped"
    assert outputs_text([]) == ""
