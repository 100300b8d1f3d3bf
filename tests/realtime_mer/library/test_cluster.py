"""Files on a Ray cluster of two nodes on this machine, one worker killed on purpose."""

from __future__ import annotations

import os
import pickle
import queue
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from mer_engine.engine import shipped_model

from realtime_mer.errors import UserError
from realtime_mer.library.analysis import FileTask
from realtime_mer.library.cluster import (
    ATTEMPTS,
    _Actor,
    _Attempts,
    _Coordinator,
    _Job,
    analyze_on_cluster,
)
from realtime_mer.library.track import Track
from realtime_mer.library.track_analysis import (
    AnalysisSettings,
    Outcome,
    TrackAnalyzer,
    skipped_track,
)

ray = pytest.importorskip("ray", reason="Ray is not installed (extra: cluster)")
pytestmark = [
    # Ray's own: deprecations of its parts, sockets and files that it leaves to the collector.
    pytest.mark.filterwarnings("ignore"),
    # Two nodes start in 10 s on a machine that does nothing else.
    pytest.mark.timeout(900),
]
START_ATTEMPTS = 4
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


# Before the cluster starts: where a session has one, its address is not looked at.
@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_no_cluster_is_a_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # "auto" finds this one
    outcomes = analyze_on_cluster(
        [FileTask("x")], AnalysisSettings(), address=address, announce=print
    )
    with pytest.raises(UserError, match=f"there is no Ray cluster at {address} .*ray start --head"):
        next(outcomes)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two machines of one core each, to which this process belongs."""
    # Ray runs its processes at low priority: they would wait for whatever else runs here.
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_worker_niceness", "0")
        yield from started_cluster()


def started_cluster() -> Iterator[str]:
    """Start a cluster, yield its address, and stop it."""
    from ray.cluster_utils import Cluster

    for _ in range(START_ATTEMPTS):
        nodes = Cluster()
        try:
            nodes.add_node(**NODE, include_dashboard=False)
            nodes.add_node(**NODE)
            ray.init(address=nodes.address, log_to_driver=False)
            break
        except Exception as error:  # Ray gives a node of a busy machine 30 s to start
            reason = str(error)
            ray.shutdown()
            nodes.shutdown()
    else:
        pytest.skip(f"this machine is too busy to start Ray: {reason}")
    yield nodes.address
    ray.shutdown()
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


def cmdline(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended
        return ""


def content(track: Track) -> Track:
    return replace(track, analysed_utc="")


def test_results_equal_those_of_one_machine_although_a_worker_is_killed(
    cluster: str, music: list[str]
) -> None:
    settings = AnalysisSettings()
    alone = TrackAnalyzer(settings)
    expected = {path: content(alone.analyze(path)) for path in music}
    tasks = [FileTask(path) for path in music]
    said: list[str] = []
    killed: list[int] = []
    tracks = {}
    for task, outcome in analyze_on_cluster(tasks, settings, address=cluster, announce=said.append):
        if not killed:
            killed = [
                process.pid
                for process in psutil.Process().children(recursive=True)  # of this test's cluster
                if "MapWorker" in cmdline(process)
            ][:1]
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        assert task.name not in tracks
        tracks[task.name] = content(outcome.track)
    assert killed, "no worker was found"
    assert said == ["Ray cluster: 2 cores on 2 machines"]
    assert tracks == expected


def test_a_file_whose_worker_dies_again_and_again_is_skipped(
    cluster: str, music: list[str]
) -> None:
    song = music[0]
    attempts = ray.remote(num_cpus=0)(_Attempts).remote()
    actor = ray.remote(num_cpus=0)(_Actor).remote(_Job(AnalysisSettings()), attempts)
    for _ in range(ATTEMPTS):  # as workers that were lost do
        ray.get(attempts.begin.remote(song))
    row = {"task": pickle.dumps(FileTask(song))}
    _, outcome = pickle.loads(ray.get(actor.__call__.remote(row))["result"])
    assert outcome.track.summary is None
    assert outcome.track.skipped == (
        f"'{song}' was left out: what analysed it was lost {ATTEMPTS} times"
    )


def test_what_is_done_comes_before_the_error_that_ends_all() -> None:
    done = FileTask("a"), Outcome(skipped_track("a", "key", "none"), 2)
    coordinator = _Coordinator.__new__(_Coordinator)  # outside a cluster
    coordinator._results = queue.SimpleQueue()
    for result in (done, RuntimeError("the cluster is gone")):
        coordinator._results.put(result)
    results = coordinator.take()
    assert results is not None
    assert pickle.loads(results) == [done]
    with pytest.raises(RuntimeError, match="the cluster is gone"):
        coordinator.take()


def test_a_model_file_is_sent_to_the_machines(
    cluster: str, music: list[str], tmp_path: Path
) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(shipped_model().read_bytes())
    settings = AnalysisSettings(model=own)
    outcomes = analyze_on_cluster(
        [FileTask(music[0])],
        settings,
        address=cluster,
        announce=lambda _: own.unlink(),  # from here on only what was sent is there
    )
    ((_, outcome),) = outcomes
    assert content(outcome.track) == content(TrackAnalyzer(AnalysisSettings()).analyze(music[0]))
