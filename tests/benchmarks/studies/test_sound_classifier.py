"""The study that fits the sound classifier, on tones, clicks and noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audioset_support import published_weights
from mer_engine import audioset_network, load_engine
from mer_engine.model_file import SOUNDS
from mer_engine.network_import import load_network
from sound_classifier import FOLDS, Recording, fit, fold_of, main, measure, states

RATE_HZ = 16_000


def write_sounds(root: Path) -> list[str]:
    """Write a folder for each kind of sound, with sources of every fold; return the arguments."""
    rng = np.random.default_rng(0)
    time_s = np.arange(5 * RATE_HZ) / RATE_HZ
    arguments = ["--sources", "synthesised"]
    for sound in SOUNDS:
        for number in range(3 * FOLDS):
            signal = {
                "music": np.sin(2 * np.pi * (200 + 50 * number) * time_s),
                "speech": rng.normal(size=len(time_s)) * (time_s % 0.25 < 0.05),
                "noise": rng.normal(size=len(time_s)),
            }[sound]
            folder = root / sound / f"source {number}"
            folder.mkdir(parents=True)
            soundfile.write(folder / "a.wav", 0.1 * signal, RATE_HZ)
        arguments += [f"--{sound}", f"some={root / sound}"]
    return arguments


def test_a_start_model_is_fitted_measured_and_written(tmp_path: Path) -> None:
    torch.save(published_weights(), tmp_path / "mn04.pt")
    files = {name: tmp_path / name for name in ("start.onnx", "sound.json")}
    arguments = ["--weights", str(tmp_path / "mn04.pt"), *write_sounds(tmp_path / "sounds")]
    arguments += ["--start", str(files["start.onnx"]), "--out", str(files["sound.json"])]
    assert main(arguments) == 0
    result = json.loads(files["sound.json"].read_text())
    assert result["sources"] == "synthesised"
    assert [row["sound"] for row in result["rows"]] == list(SOUNDS)
    for row in result["rows"]:
        assert (row["recordings"], row["seconds"]) == (9, 9 * 1.0)
    # The weights are random: much better than chance (a third) is all that they can be.
    assert np.mean([row["right"] for row in result["rows"]]) > 0.55
    info = load_engine(files["start.onnx"]).info
    assert info.sounds == SOUNDS
    assert load_engine().info.notice.strip() in info.notice
    assert audioset_network.NOTICE in info.notice
    network, _ = load_network(files["start.onnx"])
    shipped, _ = load_network(None)
    assert network.config.sounds
    # The shipped model has a sound classifier of its own, which the start model does not keep.
    expected = {k: v for k, v in shipped.encoder.state_dict().items() if k[:6] != "sound."}
    found = {name: network.encoder.state_dict()[name] for name in expected}
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_missing_weights_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--weights", str(tmp_path / "none.pt"), *write_sounds(tmp_path / "sounds")]
    assert main([*arguments, "--start", str(tmp_path / "start.onnx")]) == 2
    assert "none.pt does not contain mn04" in capsys.readouterr().err


def recordings() -> list[Recording]:
    """Return recordings whose first numbers say what they are."""
    torch.manual_seed(0)
    made = []
    for number in range(30):
        hidden = 0.1 * torch.randn(20, audioset_network.HIDDEN)
        hidden[:, number % 3] += 2
        made.append(Recording("some", number % 3, number // 3 % FOLDS, hidden))
    return made


def test_sources_of_other_folds_are_measured() -> None:
    assert {fold_of(str(number)) for number in range(20)} == set(range(FOLDS))
    rows = measure(recordings())
    assert [row["right"] for row in rows] == [1.0, 1.0, 1.0]
    # Recordings of a fold that differ from all others cannot be right.
    exchanged = [
        Recording("some", (r.sound + 1) % 3 if r.fold == 0 else r.sound, r.fold, r.hidden)
        for r in recordings()
    ]
    assert all(row["right"] < 0.9 for row in measure(exchanged))


def test_the_state_has_hysteresis() -> None:
    made = recordings()
    layer = fit(made)
    music, speech = made[0].hidden, made[1].hidden
    joined = Recording("some", 0, 0, torch.cat([music, speech]))
    found = states(layer, joined)
    assert found[:20].tolist() == [0] * 20
    assert found[20] == 0
    assert found[-1] == 1
