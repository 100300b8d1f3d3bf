"""The soak: its clients on a real server, what they must notice, and the fit of growth."""

from __future__ import annotations

import urllib.request
from typing import Any

import numpy as np
import pytest
import soundfile
from live_support import wait_for
from support import ESTIMATE


def test_watchers_and_guests_of_a_real_server() -> None:
    from soak_clients import Guests, Watcher
    from target_server import target_server

    with target_server("--input", "demo", "--speed", "10", "--quiet") as server:
        watcher = Watcher(server.port)
        watcher.start()
        assert watcher.wait_for_estimate(0.0, 60.0)
        guests = Guests(server.port, 1, count=3, pace=10.0)
        wait_for(lambda: sum(guests.visits.values()) >= 6, "guests come and go")
        guests.stop()
        watcher.stop()
        assert server.alive
        assert server.usage()["handles"] > 0
        assert server.tracebacks() == 0
    assert guests.faults == []
    assert watcher.faults == []
    assert watcher.estimates > 0
    assert server.usage()["handles"] == 0


def estimate(seq: int, t: float, **changed: object) -> dict[str, Any]:
    return {**ESTIMATE.to_dict(), "seq": seq, "t": t, "state": "tracking", **changed}


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (estimate(6, 5.0), None),
        (estimate(5, 5.0), "estimate 5 at 5.0 s came after 5 at 4.0 s"),
        (estimate(6, 3.0), "estimate 6 at 3.0 s came after 5 at 4.0 s"),
        (estimate(6, 4.0), "estimate 6 at 4.0 s came after 5 at 4.0 s"),
        (estimate(6, 4.0, state="stalled"), None),
        (estimate(6, 5.0, valence_low=0.9), "valence 0.123457 lies outside its interval"),
        (estimate(6, 5.0, arousal=float("nan")), "arousal nan lies outside its interval"),
    ],
)
def test_a_watcher_sees_what_must_not_happen(second: dict[str, Any], fault: str | None) -> None:
    from soak_clients import Watcher

    watcher = Watcher(0)
    watcher._take({"type": "hello", "session": "a"})
    watcher._take({"type": "snapshot", "estimates": [estimate(3, 2.0)]})
    watcher._take(estimate(5, 4.0))
    watcher._take(second)
    assert watcher.missed == 1
    assert [found[: len(fault or "")] for found in watcher.faults] == ([fault] if fault else [])


def test_a_station_sends_mp3_until_it_is_off_the_air() -> None:
    if "MP3" not in soundfile.available_formats():
        pytest.skip("this libsndfile does not write MP3")
    from soak_clients import Station

    with Station(1) as station:
        with urllib.request.urlopen(station.url, timeout=60) as answer:
            assert answer.headers["Content-Type"] == "audio/mpeg"
            part = answer.read(5000)
            assert part == station.body[:5000]
            station.on_air.clear()
            answer.read()
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(station.url, timeout=60)
        station.shutdown()


def test_growth_is_a_fit_without_the_first_quarter() -> None:
    from soak import growth_per_hour

    hours = np.arange(16) / 60
    warm_up = [{"hours": float(h), "rss_mb": 1000.0} for h in hours[:4]]
    steady = [{"hours": float(h), "rss_mb": 100.0 + 6.0 * float(h)} for h in hours[4:]]
    assert growth_per_hour([*warm_up, *steady], "rss_mb") == pytest.approx(6.0)
    assert growth_per_hour(steady[:4], "rss_mb") is None


def test_bad_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    import fuzz
    import soak

    for main, arguments in (
        (soak.main, ["--hours", "0"]),
        (soak.main, ["--pace", "40"]),
        (fuzz.main, ["--messages", "1"]),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
    error = capsys.readouterr().err
    assert "--hours is 0; it must lie above 0" in error
    assert "--pace is 40; it must lie between 1 and 20" in error
    assert "--messages is 1; it must be at least 2" in error


def test_tables_tell_what_was_missed() -> None:
    from proof_tables import attacks, fuzz, soak, soak_faults

    row = {
        "attack": "pings", "p95_s": 0.5, "max_s": 2.5, "same_address_max_s": 0.6, "newcomers": 5,
        "newcomers_refused": 2, "newcomer_max_s": 0.1, "log_lines": 7, "rss_growth_mb": -3.0,
        "endings": {"open": 3, "1008": 1200}, "missed": ["2.50 s between two estimates"],
    }  # fmt: skip
    text = attacks({"seconds": 10.0, "hop_s": 0.5, "rows": [row]})
    assert (
        "| pings | 0.50 s | 2.50 s | 0.60 s | 2 of 5 not | 7 | -3 | 1008 ×1,200, open ×3 |" in text
    )
    assert "* pings: 2.50 s between two estimates" in text
    growth = {"rss_mb": 1.25, "handles": 0.0, "threads": None}
    server = {"hours": 2.0, "estimates": 7200, "missed": 1, "growth_per_hour": growth}
    result = {
        "pace": 20.0, "servers": {"the demo": server, "the radio": {**server, "hours": 0.1}},
        "visits": {"watch": 2}, "violations": ["a"], "left_out": {"disk full": "run it as root"},
        "faults": {"ffmpeg killed": {"times": 3, "longest_s": 2.5}},
    }  # fmt: skip
    assert "| the demo | 2.00 h | 7,200 | 1 | +1.2 | +0.0 | |\n" in soak(result)
    assert "| the radio | 0.10 h | 7,200 | 1 | | | |" in soak(result)
    assert "* a" in soak(result)
    assert "| ffmpeg killed | 3 | 2.50 s |" in soak_faults(result)
    assert "* disk full: left out, run it as root" in soak_faults(result)
    random_input = {"messages": 9, "seconds": 1, "calls": {"f": 4}, "endings": {}, "faults": ["x"]}
    assert "1 faults" in fuzz(random_input)
    assert "* x" in fuzz(random_input)
