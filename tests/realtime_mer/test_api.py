"""The public functions: analyze, Tracker, listen, devices, load_model."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fast_support import tones
from live_support import HangingSource, wait_for
from mer_engine import Engine, Inference
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from support import ESTIMATE, FAST_ESTIMATE, SCALED_ESTIMATE, FaultInjector, blocks, music, values

import realtime_mer
from realtime_mer import Analysis, EngineError, Estimate, Input, State, Tracker, UserError, api
from realtime_mer.audio.microphone import InputDevice, list_input_devices
from realtime_mer.audio.source import InputKind
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline

RATE = 16_000
INPUT = Input(InputKind.FILE, "a song", RATE, 1, paced=True, live=False)


@pytest.fixture(scope="module")
def song() -> NDArray[np.float32]:
    return music(6.0, RATE, channels=2)


@pytest.fixture(scope="module")
def song_file(song: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, song, RATE, subtype="FLOAT")
    return path


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    wait_for(
        lambda: not {"listener", "realtime-mer client"} & {t.name for t in threading.enumerate()},
        "the end of the threads",
    )


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )


# The package


def test_the_import_imports_nothing_heavy() -> None:
    done = run_python(
        "import sys; before = set(sys.modules); import realtime_mer;"
        "assert realtime_mer.__version__; print(*sorted(set(sys.modules) - before))"
    )
    assert done.stdout.split() == ["realtime_mer"]


def test_every_public_name_exists_and_is_listed() -> None:
    assert set(realtime_mer.__all__) <= set(dir(realtime_mer))
    for name in realtime_mer.__all__:
        assert getattr(realtime_mer, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        _ = realtime_mer.analyse  # type: ignore[attr-defined]


def test_nothing_is_printed_or_logged(song_file: Path) -> None:
    done = run_python(
        f"song = {str(song_file)!r}\n"
        "import logging, realtime_mer as r\n"
        "a = r.analyze(song, hop_s=1.0); a.summary(); a.to_numpy(); repr(a)\n"
        "with r.listen(song, speed=10.0) as listener: list(listener)\n"
        "for call in (lambda: r.listen('no such device'), lambda: r.analyze('none.wav'),\n"
        "             lambda: next(r.connect('ws://127.0.0.1:1')), lambda: r.devices()):\n"
        "    try: call()\n"
        "    except r.UserError: pass\n"
        "assert not logging.getLogger().handlers\n"
        "assert not any(getattr(l, 'handlers', ()) for n, l in\n"
        "    logging.Logger.manager.loggerDict.items() if n.startswith('realtime_mer'))\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# load_model and devices


def test_the_default_model_is_loaded_once() -> None:
    models: list[object] = []
    threads = [
        threading.Thread(target=lambda: models.append(realtime_mer.load_model())) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(models) == 3
    assert {id(model) for model in models} == {id(realtime_mer.load_model())}


class CountingModel:
    """A model that counts its calls."""

    def __init__(self, model: realtime_mer.Model) -> None:
        self._model = model
        self.info, self.backend = model.info, model.backend
        self.calls = 0

    def infer(self, *arguments: NDArray[np.float32]) -> Inference:
        self.calls += 1
        return self._model.infer(*arguments)


def test_the_given_model_is_used(
    engine: Engine, song: NDArray[np.float32], song_file: Path
) -> None:
    for use in (
        lambda model: realtime_mer.analyze(song, sample_rate_hz=RATE, model=model),
        lambda model: Tracker(RATE, 2, model=model).feed(song),
        lambda model: list(realtime_mer.listen(song_file, speed=10.0, model=model)),
    ):
        model = CountingModel(engine)
        assert len(use(model)) > 0
        assert model.calls > 0


def test_an_unreadable_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.onnx"):
        realtime_mer.load_model(tmp_path / "nothing.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(UserError, match=r"text\.onnx"):
        realtime_mer.load_model(str(tmp_path / "text.onnx"))
    with pytest.raises(UserError, match="the model file is 5"):
        realtime_mer.load_model(5)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="'abacus'"):
        realtime_mer.load_model(backend="abacus")
    with pytest.raises(UserError, match=r"is 'my\.onnx'; it must come from load_model"):
        realtime_mer.analyze("demo", model="my.onnx")  # type: ignore[arg-type]


def test_devices() -> None:
    def outcome(function: Callable[[], list[InputDevice]]) -> list[InputDevice] | str:
        try:
            return function()
        except UserError as error:
            return str(error)

    assert outcome(realtime_mer.devices) == outcome(list_input_devices)


# analyze


def test_a_file_equals_the_pipeline(
    engine: Engine, song: NDArray[np.float32], song_file: Path
) -> None:
    analysis = realtime_mer.analyze(song_file, hop_s=0.5)
    pipeline = Pipeline(engine, sample_rate_hz=RATE, channels=2, config=PipelineConfig(hop_s=0.5))
    assert_allclose(values(analysis), values([*pipeline.feed(song), *pipeline.finish()]), atol=1e-4)
    assert (analysis.sample_rate_hz, analysis.channels, analysis.duration_s) == (RATE, 2, 6.0)
    assert (analysis.input.name, analysis.hop_s, analysis.window_s) == ("song.wav", 0.5, 10.0)
    assert repr(analysis) == "<Analysis of song.wav: 12 estimates, 6.0 s>"


def test_a_file_named_as_people_name_it(song_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(song_file.parent))
    for name in (song_file.as_uri(), f"~/{song_file.name}", os.fsencode(song_file)):
        assert realtime_mer.analyze(name, hop_s=1.0).input.name == "song.wav"
    with realtime_mer.listen(song_file.as_uri(), speed=100.0) as listener:
        assert listener.input.name == "song.wav"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, ">i2", np.int32, "list"])
def test_arrays_of_each_dtype(song: NDArray[np.float32], dtype: Any) -> None:
    expected = values(realtime_mer.analyze(song, sample_rate_hz=RATE))
    array: Any
    if dtype == "list":
        array = song.tolist()
    elif np.dtype(dtype).kind == "f":
        array = song.astype(dtype)
    else:
        array = (song.astype(np.float64) * -float(np.iinfo(np.dtype(dtype)).min)).astype(dtype)
    found = realtime_mer.analyze(array, sample_rate_hz=RATE)
    assert_allclose(values(found), expected, atol=2e-3)


def test_mono_has_one_dimension_or_two(song: NDArray[np.float32]) -> None:
    mono = song[:, 0]
    one = realtime_mer.analyze(mono, sample_rate_hz=float(RATE))  # type: ignore[arg-type]
    two = realtime_mer.analyze(mono[:, None], sample_rate_hz=np.int64(RATE))  # type: ignore[arg-type]
    assert one.channels == two.channels == 1
    assert_allclose(values(one), values(two), atol=1e-6)


def test_the_settings_are_used(song: NDArray[np.float32]) -> None:
    analysis = realtime_mer.analyze(song, sample_rate_hz=RATE, hop_s=0.2, lag_order=4)
    assert (len(analysis), analysis.window_s, analysis[0].fast) == (30, 2.0, None)
    silent = realtime_mer.analyze(song, sample_rate_hz=RATE, silence_db=0.0)
    assert {estimate.state for estimate in silent} == {State.SILENCE}


def test_an_analysis_is_a_sequence(song: NDArray[np.float32]) -> None:
    analysis = realtime_mer.analyze(song, sample_rate_hz=RATE)
    assert list(analysis) == [analysis[index] for index in range(len(analysis))]
    assert analysis[-2:] == list(analysis)[-2:]
    assert analysis[0] in analysis
    with pytest.raises(IndexError):
        analysis[12]


NOT_AUDIO = [
    (np.zeros((2, 3, 4)), RATE, r"\(2, 3, 4\); it must be \[samples\] or \[samples, channels\]"),
    (np.zeros((2, 500)), RATE, r"\(2, 500\), which is 500 channels.*\.T"),
    (np.zeros(0), RATE, r"shape \(0,\) contains no"),
    (np.zeros((0, 2)), RATE, r"shape \(0, 2\) contains no"),
    (np.array(["a"]), RATE, "dtype <U1"),
    (np.zeros(9, dtype=object), RATE, "dtype object"),
    (np.zeros(9, dtype=bool), RATE, "dtype bool"),
    (np.zeros(9, dtype=np.int64), RATE, "dtype int64; it must be float32"),
    (np.zeros(9, dtype=np.uint8), RATE, "dtype uint8"),
    (np.zeros(9, dtype=complex), RATE, "dtype complex128"),
    (np.full(RATE, np.nan), RATE, "sample 0 is not a finite number"),
    (np.full(RATE, 32767.0), RATE, "reaches 32767, but the full scale"),
    ([[0.0, 1.0], [0.0]], RATE, "is not an array of numbers"),
    ((np.zeros(RATE), RATE), None, "give the samples alone, without their sample rate"),
    (None, None, "the audio is None; it must be a path"),
    (5, RATE, "the audio is 5; it must be a path"),
    (" ", None, "the path is empty"),
    (np.zeros(RATE), True, "sample_rate_hz is True"),
    (np.zeros(RATE), None, "give sample_rate_hz"),
    (np.zeros(RATE), 44_100.5, "sample_rate_hz is 44100.5; it must be a whole number"),
    (np.zeros(RATE), "44100", "sample_rate_hz is '44100'"),
    (np.zeros(RATE), 100, "the sample rate is 100 Hz"),
    (np.zeros(100), RATE, "lasts 0.01 s; at least half a second"),
]


@pytest.mark.parametrize(("array", "rate", "message"), NOT_AUDIO)
def test_invalid_arrays_are_refused(array: Any, rate: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        realtime_mer.analyze(array, sample_rate_hz=rate)


def test_the_error_names_the_position_of_a_bad_sample(song: NDArray[np.float32]) -> None:
    bad = song.astype(np.float64)
    bad[3 * RATE + 7, 1] = -np.inf
    with pytest.raises(UserError, match=f"the array: sample {3 * RATE + 7} is not a finite"):
        realtime_mer.analyze(bad, sample_rate_hz=RATE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hop_s": 0.0}, "the hop is 0.0 s"),
        ({"hop_s": "1"}, "hop_s is '1'; it must be a number"),
        ({"hop_s": float("nan")}, "the hop is nan s"),
        ({"lag_order": 0}, "the lag order is 0"),
        ({"lag_order": 99}, "the lag order is 99"),
        ({"lag_order": 2.5}, "lag_order is 2.5; it must be a whole number"),
        ({"value_range": "wide"}, "value_range is 'wide'; it must be 'raw', 'music' or None"),
        ({"value_range": "raw", "adapt": True}, "raw values do not adapt"),
        ({"silence_db": 3}, "the silence level is 3"),
    ],
)
def test_invalid_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        realtime_mer.analyze(np.zeros(RATE), sample_rate_hz=RATE, **settings)
    with pytest.raises(UserError, match=message):
        Tracker(RATE, **settings)
    with pytest.raises(UserError, match=message):
        realtime_mer.listen("demo", **settings)


@pytest.mark.parametrize("settings", [{"value_range": "music"}, {"adapt": True}])
def test_a_model_without_a_distribution_has_only_raw_values(
    settings: dict[str, Any], fast_engine: Engine
) -> None:
    message = f"{fast_engine.info.name} has no distribution of its values over music"
    with pytest.raises(UserError, match=message):
        realtime_mer.analyze(np.zeros(RATE), sample_rate_hz=RATE, model=fast_engine, **settings)
    with pytest.raises(UserError, match=message):
        Tracker(RATE, model=fast_engine, **settings)
    with pytest.raises(UserError, match=message):
        realtime_mer.listen("demo", model=fast_engine, **settings)


def test_unreadable_files_are_refused(tmp_path: Path, song_file: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        realtime_mer.analyze(tmp_path / "none.wav")
    with pytest.raises(UserError, match=r"leave sample_rate_hz out"):
        realtime_mer.analyze(song_file, sample_rate_hz=RATE)
    with pytest.raises(UserError, match=r"listen\(\) takes those"):
        realtime_mer.analyze("https://radio.example/stream")
    cut = tmp_path / "cut.wav"
    cut.write_bytes(song_file.read_bytes()[: RATE * 8 * 2])
    with pytest.raises(realtime_mer.DamagedFileError, match=r"cut\.wav") as caught:
        realtime_mer.analyze(cut)
    assert isinstance(caught.value, realtime_mer.SourceLost)
    before = caught.value.analysis
    assert before.duration_s == pytest.approx(2.0, abs=0.1)
    whole = realtime_mer.analyze(song_file)
    assert [estimate.t for estimate in before] == [0.5, 1.0, 1.5]
    assert before[-1].valence == pytest.approx(whole[2].valence, abs=1e-5)


# Analysis


def made_up(
    valence: list[float], *, hop_s: float = 1.0, window_s: float = 2.0, **changes: Any
) -> list[Estimate]:
    """Estimates with these values, whose window is full once it can be."""
    return [
        replace(
            ESTIMATE,
            seq=index,
            t=(index + 1) * hop_s,
            valence=value,
            arousal=-value,
            state=State.TRACKING if (index + 1) * hop_s >= window_s else State.SETTLING,
            latency=replace(ESTIMATE.latency, window_s=window_s),
            **changes,
        )
        for index, value in enumerate(valence)
    ]


def analysis_of(estimates: list[Estimate], hop_s: float = 1.0) -> Analysis:
    return Analysis(estimates, input=INPUT, duration_s=estimates[-1].t, hop_s=hop_s)


def test_the_summary_of_values() -> None:
    estimates = made_up([0.2, 0.2, 0.2, 0.8], whole=(0.5, -0.25))
    estimates[3] = replace(estimates[3], mood="joyful")
    summary = analysis_of(estimates).summary()
    assert summary["duration_s"] == 4.0
    assert summary["estimates"] == 4
    assert summary["valence"] == {
        "mean": pytest.approx(0.35),
        "sd": pytest.approx(0.6 * (3 / 16) ** 0.5, abs=1e-6),
        "min": 0.2,
        "max": 0.8,
    }
    assert summary["arousal"]["mean"] == pytest.approx(-0.35)
    assert list(summary["moods"].items()) == [("still", 0.75), ("joyful", 0.25)]
    assert summary["states"] == {"tracking": 0.75, "settling": 0.25}
    assert summary["whole"] == {"valence": 0.5, "arousal": -0.25}
    assert json.loads(json.dumps(summary)) == summary


def test_estimates_are_weighted_by_their_duration() -> None:
    estimates = made_up([0.0, 1.0])
    estimates[1] = replace(estimates[1], t=4.0)
    assert analysis_of(estimates).summary()["valence"]["mean"] == 0.75


@pytest.mark.parametrize("state", [State.SILENCE, State.SPEECH, State.NOISE])
def test_what_is_no_music_is_left_out_of_the_summary(state: State) -> None:
    estimates = made_up([0.4, 0.4, 0.9, 0.9])
    for index in (2, 3):
        estimates[index] = replace(estimates[index], state=state, mood="excited")
    summary = analysis_of(estimates).summary()
    assert summary["valence"]["mean"] == 0.4
    assert summary["moods"] == {"still": 1.0}
    assert summary["states"][state] == 0.5
    assert summary["whole"] is None


def test_the_summary_of_silence() -> None:
    summary = realtime_mer.analyze(np.zeros(3 * RATE), sample_rate_hz=RATE).summary()
    assert summary["valence"] is summary["arousal"] is summary["largest_change"] is None
    assert summary["moods"] == {}
    assert summary["states"] == {"silence": 1.0}


def test_a_missing_mood_is_empty_in_the_table_and_has_no_share() -> None:
    estimates = made_up([0.1, 0.2])
    estimates[0] = replace(estimates[0], mood=None)
    analysis = analysis_of(estimates)
    assert analysis.to_numpy()["mood"].tolist() == ["", "still"]
    assert analysis.summary()["moods"] == {"still": 1.0}
    silence = analysis_of([replace(e, mood=None, state=State.SETTLING) for e in estimates])
    assert silence.summary()["moods"] == {}


def test_speech_in_a_file(sound_model: Path) -> None:
    model = realtime_mer.load_model(sound_model)
    signal = tones([("music", 11.0), ("speech", 6.0), ("noise", 6.0)])
    analysis = realtime_mer.analyze(signal, sample_rate_hz=16_000, model=model)
    summary = analysis.summary()
    assert set(summary["states"]) == {"settling", "tracking", "speech", "noise"}
    assert not analysis[0].state.repeats
    assert analysis[-1].state.repeats
    assert analysis[-1].valence == analysis[-4].valence


def test_the_largest_change_is_between_adjacent_windows() -> None:
    # The music changes at 4 s, and a window of 2 s follows.
    summary = analysis_of(made_up([0.0, 0.0, 0.0, 0.0, 0.3, 0.6, 0.6, 0.7])).summary()
    assert summary["largest_change"] == {"t": 4.0, "valence": 0.6, "arousal": -0.6}
    assert analysis_of(made_up([0.0, 0.0, 0.6])).summary()["largest_change"] is None


def test_the_table() -> None:
    fast = replace(FAST_ESTIMATE, whole=(0.1, 0.2), mood="pleased", state=State.SILENCE)
    table = analysis_of([ESTIMATE, fast]).to_numpy()
    assert table.shape == (2,)
    assert table["mood"].tolist() == ["still", "pleased"]
    assert table["state"].tolist() == ["settling", "silence"]
    assert table["valence"].tolist() == [ESTIMATE.valence] * 2
    assert np.isnan(table["fast_valence"][0])
    assert fast.fast is not None
    assert table["fast_valence"][1] == fast.fast.valence
    assert np.isnan(table["whole_arousal"][0])
    assert table["whole_arousal"][1] == 0.2
    # Every mood and every state fits into its field.
    from realtime_mer.core.mood import WORDS

    assert max(len(word) for word in (*WORDS, *State)) <= 8


def test_the_table_has_scaled_values() -> None:
    table = analysis_of([FAST_ESTIMATE, SCALED_ESTIMATE]).to_numpy()
    assert np.isnan(table["scaled_valence"][0])
    assert (table["scaled_valence"][1], table["scaled_arousal_high"][1]) == (0.25, -0.6)
    assert table["valence"].tolist() == [ESTIMATE.valence] * 2


def test_the_range_of_a_model_with_a_distribution(
    song: NDArray[np.float32], music_model: Path
) -> None:
    model = realtime_mer.load_model(music_model)
    analysis = realtime_mer.analyze(song, sample_rate_hz=RATE, model=model)
    assert all(estimate.scaled is not None for estimate in analysis)
    raw = realtime_mer.analyze(song, sample_rate_hz=RATE, model=model, value_range="raw")
    assert all(estimate.scaled is None for estimate in raw)
    assert_allclose(values(raw), values(analysis), atol=1e-6)
    tracker = Tracker(RATE, 2, model=model, adapt=True)
    assert all(estimate.scaled is not None for estimate in tracker.feed(song))


def test_the_data_frame() -> None:
    pytest.importorskip("pandas")
    frame = analysis_of(made_up([0.1, 0.3])).to_pandas()
    assert frame.index.name == "t"
    assert frame.loc[2.0, "valence"] == 0.3
    assert frame.groupby("mood")["arousal"].mean()["still"] == pytest.approx(-0.2)


def test_the_data_frame_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        analysis_of([ESTIMATE]).to_pandas()


def test_the_dictionary_is_json() -> None:
    analysis = analysis_of(made_up([0.1, 0.3]))
    data = json.loads(json.dumps(analysis.to_dict()))
    assert data["input"] == "a song"
    assert data["summary"] == analysis.summary()
    assert [Estimate.from_dict(row).t for row in data["estimates"]] == [1.0, 2.0]


def test_the_plot(tmp_path: Path) -> None:
    analysis = analysis_of(made_up([0.1, 0.3]))
    analysis.save_plot(tmp_path / "song.png")
    assert (tmp_path / "song.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"must end in \.png"):
        analysis.save_plot(tmp_path / "song.pdf")


@pytest.mark.parametrize(
    "estimate",
    [ESTIMATE, FAST_ESTIMATE, SCALED_ESTIMATE, replace(ESTIMATE, mood=None, state=State.SPEECH)],
)
def test_from_dict_inverts_to_dict(estimate: Estimate) -> None:
    data = json.loads(json.dumps(estimate.to_dict()))
    again = Estimate.from_dict({**data, "added_later": 1})
    assert again.to_dict() == estimate.to_dict()
    assert again == Estimate.from_dict(again.to_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"valence": "much"}, "not an estimate.*much"),
        ({"state": "asleep"}, "not an estimate.*asleep"),
        ({"latency": None}, "not an estimate"),
        ({"fast": {}}, "the field 'window_s' is missing"),
    ],
)
def test_from_dict_refuses_other_dictionaries(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Estimate.from_dict({**ESTIMATE.to_dict(), **change})


# Tracker


def test_blocks_of_any_length_equal_the_file(song: NDArray[np.float32]) -> None:
    expected = values(realtime_mer.analyze(song, sample_rate_hz=RATE))
    tracker = Tracker(sample_rate_hz=RATE, channels=2)
    for _ in range(2):
        found = [e for block in blocks(song, (1, 333, 0, 1024)) for e in tracker.feed(block)]
        found += tracker.finish()
        assert [e.seq for e in found] == list(range(12))
        assert_allclose(values(found), expected, atol=1e-4)
        tracker.reset()


def test_a_block_may_be_overwritten_after_feed() -> None:
    signal = music(3.0, RATE)[:, 0]
    expected = values(realtime_mer.analyze(signal, sample_rate_hz=RATE))
    tracker = Tracker(RATE)
    buffer = np.zeros(100, dtype=np.float32)
    found: list[Estimate] = []
    for block in blocks(signal, (100,)):
        buffer[:] = block
        found += tracker.feed(buffer)
        buffer[:] = 0.0
    assert_allclose(values([*found, *tracker.finish()]), expected, atol=1e-4)


def test_a_refused_block_changes_nothing(song: NDArray[np.float32]) -> None:
    clean, disturbed = Tracker(RATE, 2), Tracker(RATE, 2)
    bad = song[:500].copy()
    bad[3, 1] = np.inf
    for part in blocks(song[: 2 * RATE], (500,)):
        with pytest.raises(realtime_mer.BadSamplesError) as caught:
            disturbed.feed(bad)
        assert caught.value.position == 3
        with pytest.raises(UserError, match=r"shape \(500, 3\)"):
            disturbed.feed(np.zeros((500, 3)))
        with pytest.raises(UserError, match="dtype int64"):
            disturbed.feed(np.zeros((500, 2), dtype=np.int64))
        expected, found = clean.feed(part), disturbed.feed(part)
        assert values(expected).tolist() == values(found).tolist()


def test_a_tracker_counts_the_updates_in_which_its_model_failed(engine: Engine) -> None:
    model = FaultInjector(engine)
    tracker = Tracker(RATE, hop_s=0.5, model=model)
    signal = music(2.0, RATE)[:, 0]
    assert len(tracker.feed(signal[:RATE])) == 2
    assert tracker.faulty_updates == 0
    model.error = RuntimeError("no memory")
    assert len(tracker.feed(signal[RATE:])) == 2
    assert tracker.faulty_updates == 2
    with pytest.raises(EngineError, match=r"the array: the backend \w+ failed \(RuntimeError: no"):
        realtime_mer.analyze(signal, sample_rate_hz=RATE, model=model)
    tracker.reset()
    assert tracker.faulty_updates == 0


def test_a_finished_tracker_refuses_blocks(song: NDArray[np.float32]) -> None:
    tracker = Tracker(RATE, 2)
    tracker.feed(song)
    tracker.finish()
    assert tracker.finish() == []
    with pytest.raises(UserError, match=r"call reset\(\)"):
        tracker.feed(song)
    tracker.reset()
    assert tracker.feed(song)[0].seq == 0


@pytest.mark.parametrize(
    ("rate", "channels", "message"),
    [(7_999, 1, "7999 Hz"), (RATE, 0, "0 channels"), (RATE, "two", "channels is 'two'")],
)
def test_invalid_formats_are_refused(rate: int, channels: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Tracker(rate, channels)


# listen


def test_a_file_gives_every_estimate(song_file: Path) -> None:
    with realtime_mer.listen(song_file, speed=10.0) as listener:
        assert listener.input.name == "song.wav"
        found = list(listener)
    expected = realtime_mer.analyze(song_file)
    assert [e.seq for e in found] == list(range(len(found)))
    assert found[-1].t == expected[-1].t
    assert listener.reason is not None
    assert listener.reason.startswith("song.wav")
    assert listener.lost == 0
    assert list(listener) == []


def test_leaving_the_loop_ends_the_thread(song_file: Path) -> None:
    for estimate in realtime_mer.listen(str(song_file), loop=True, speed=10.0):
        if estimate.t > 8.0:
            break
    assert estimate.t > 8.0


def test_async_iteration(song_file: Path) -> None:
    async def times() -> list[float]:
        async with realtime_mer.listen(song_file, speed=10.0) as listener:
            return [estimate.t async for estimate in listener]

    assert asyncio.run(times())[-1] == 6.0


def test_async_iteration_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    source = HangingSource()
    monkeypatch.setattr(api, "open_source", lambda *_, **__: source)

    async def listen() -> None:
        async with realtime_mer.listen() as listener:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(listener), 0.05)
            source.give(music(1.0, RATE))
            estimate = await anext(listener)
            while estimate.state is State.STALLED:  # before there was any audio
                estimate = await anext(listener)
            assert estimate.t == 0.5

    asyncio.run(listen())
    assert source.closed


def test_the_sync_loop_works_inside_a_running_event_loop(song_file: Path) -> None:
    async def notebook_cell() -> float:
        with realtime_mer.listen(song_file, speed=10.0) as listener:
            return list(listener)[-1].t

    assert asyncio.run(notebook_cell()) == 6.0


@pytest.mark.parametrize("with_asyncio", [False, True])
def test_close_from_another_thread_ends_the_wait(
    monkeypatch: pytest.MonkeyPatch, with_asyncio: bool
) -> None:
    monkeypatch.setattr(api, "open_source", lambda *_, **__: HangingSource())
    listener = realtime_mer.listen()

    async def collect() -> list[Estimate]:
        return [estimate async for estimate in listener]

    found: list[list[Estimate]] = []
    waiting = threading.Thread(
        target=lambda: found.append(asyncio.run(collect()) if with_asyncio else list(listener))
    )
    waiting.start()
    listener.close()
    waiting.join(20.0)
    assert found == [[]]


def test_an_input_that_breaks_off_raises_after_the_last_estimate(
    tmp_path: Path, song_file: Path
) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(song_file.read_bytes()[: RATE * 8 * 2])
    found: list[Estimate] = []
    with (
        realtime_mer.listen(cut, speed=10.0) as listener,
        pytest.raises(realtime_mer.SourceLost, match=r"cut\.wav"),
    ):
        found += iter(listener)
    assert [notice.code for notice in listener.notices] == ["input_lost"]


def test_an_internal_error_is_raised(
    monkeypatch: pytest.MonkeyPatch, song_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(Pipeline, "mono_requests", fail)
    with (
        realtime_mer.listen(song_file) as listener,
        pytest.raises(RuntimeError, match="a fault"),
    ):
        next(listener)
    assert not caplog.records


def wait_for_the_end() -> None:
    wait_for(lambda: "listener" not in [t.name for t in threading.enumerate()], "the end")


def test_a_slow_consumer_loses_the_oldest(monkeypatch: pytest.MonkeyPatch, song_file: Path) -> None:
    monkeypatch.setattr(api, "QUEUE_CAPACITY", 4)  # three estimates and the end
    listener = realtime_mer.listen(song_file, speed=10.0)
    wait_for_the_end()
    found = list(listener)
    assert len(found) == 3
    assert found[-1].t == 6.0
    assert listener.lost == found[0].seq > 0


def test_only_the_latest_estimate_is_kept(song_file: Path) -> None:
    listener = realtime_mer.listen(song_file, speed=10.0, latest_only=True)
    wait_for_the_end()
    (found,) = listener
    assert found.t == 6.0
    assert listener.lost == found.seq > 0


def test_a_microphone_stalls_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    source = HangingSource()
    monkeypatch.setattr(api, "open_source", lambda *_, **__: source)
    with realtime_mer.listen(hop_s=0.1) as listener:
        assert next(listener).state is State.STALLED
        assert listener.notices.popleft().code == "stalled"
        source.give(music(1.0, RATE))
        assert next(e for e in listener if e.state is not State.STALLED).t > 0.0


def test_invalid_inputs_are_refused(tmp_path: Path) -> None:
    for nothing in (" ", None, np.zeros(9)):
        with pytest.raises(UserError, match=r"the input is .* it must be a device, a path"):
            realtime_mer.listen(nothing)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="there is no file"):
        realtime_mer.listen(tmp_path / "none.wav")
    with pytest.raises(UserError, match="feed its samples to a Tracker"):
        realtime_mer.listen("-")
    with pytest.raises(UserError, match="gopher"):
        realtime_mer.listen("gopher://radio.example")
    with pytest.raises(UserError, match="the speed is 0"):
        realtime_mer.listen("demo", speed=0)
    with pytest.raises(UserError, match="speed is 'fast'; it must be a number"):
        realtime_mer.listen("demo", speed="fast")  # type: ignore[arg-type]
    with pytest.raises(UserError):
        realtime_mer.listen(999)
