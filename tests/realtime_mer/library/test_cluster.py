"""Files on a Ray cluster of two nodes on this machine, one worker killed on purpose."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from realtime_mer.errors import UserError
from realtime_mer.library.cluster import ATTEMPTS, _Actor, _Attempts, _Job, analyze_on_cluster
from realtime_mer.library.track import Track
from realtime_mer.library.track_analysis import AnalysisSettings, TrackAnalyzer

ray = pytest.importorskip("ray", reason="Ray is not installed (extra: cluster)")
pytestmark = [
    # Ray's own: deprecations of its parts, sockets and files that it leaves to the collector.
    pytest.mark.filterwarnings("ignore"),
    # Two nodes start in 10 s on a machine that does nothing else.
    pytest.mark.timeout(600),
]
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two machines of one core each."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args=NODE)
    nodes.add_node(num_cpus=1, object_store_memory=NODE["object_store_memory"])
    yield nodes.address
    nodes.shutdown()


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Six files, and one that is none."""
    folder = tmp_path_factory.mktemp("music")
    rng = np.random.default_rng(1)
    for index in range(6):
        seconds = 4 + index
        samples = rng.normal(0.0, 0.05 * (index + 1), 16_000 * seconds).clip(-1, 1)
        soundfile.write(folder / f"{index}.flac", samples, 16_000)
    (folder / "bad.mp3").write_bytes(b"not music" * 50)
    return sorted(map(str, folder.iterdir()))


def content(track: Track) -> Track:
    return replace(track, analysed_utc="")


def test_results_equal_those_of_one_machine_although_a_worker_is_killed(
    cluster: str, music: list[str]
) -> None:
    settings = AnalysisSettings()
    alone = TrackAnalyzer(settings)
    expected = {path: content(alone.analyze(path)) for path in music}
    said: list[str] = []
    killed: list[int] = []
    tracks = []
    for track in analyze_on_cluster(music, settings, address=cluster, announce=said.append):
        if not killed:
            killed = [
                process.pid
                for process in psutil.process_iter(["name", "cmdline"])
                if "MapWorker" in " ".join(process.info["cmdline"] or [])
            ][:1]
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        tracks.append(track)
    assert killed, "no worker was found"
    assert said == ["Ray cluster: 2 cores on 2 machines"]
    assert {track.path: content(track) for track in tracks} == expected
    assert len(tracks) == len(music)


def test_a_file_whose_worker_dies_again_and_again_is_skipped(
    cluster: str, music: list[str]
) -> None:
    song = next(path for path in music if path.endswith(".flac"))
    ray.init(address=cluster, log_to_driver=False)
    try:
        attempts = ray.remote(num_cpus=0)(_Attempts).remote()
        actor = ray.remote(num_cpus=0)(_Actor).remote(_Job(AnalysisSettings()), attempts)
        for _ in range(ATTEMPTS):  # as workers that were lost do
            ray.get(attempts.begin.remote(song))
        import pickle

        track = pickle.loads(ray.get(actor.__call__.remote({"path": song}))["track"])
    finally:
        ray.shutdown()
    assert track.summary is None
    assert track.skipped == f"'{song}' was left out: what analysed it was lost {ATTEMPTS} times"


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1", "ray://127.0.0.1:1"])
def test_no_cluster_is_a_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_CLIENT_CONNECT_RETRIES", "1")
    tracks = analyze_on_cluster(["x"], AnalysisSettings(), address=address, announce=print)
    with pytest.raises(UserError, match="there is no Ray cluster at"):
        next(tracks)


def test_a_model_file_is_sent_to_the_machines(
    cluster: str, music: list[str], tmp_path: Path
) -> None:
    from mer_engine.engine import shipped_model

    own = tmp_path / "own.onnx"
    own.write_bytes(shipped_model().read_bytes())
    settings = AnalysisSettings(model=own)
    (track,) = analyze_on_cluster(music[:1], settings, address=cluster, announce=print)
    own.unlink()
    assert content(track) == content(TrackAnalyzer(AnalysisSettings()).analyze(music[0]))
