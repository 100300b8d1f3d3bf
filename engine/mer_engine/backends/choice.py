"""Choose a backend: the fastest one that passes the parity gate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mer_engine.backends import parity
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.backends.registry import AUTO, DEFAULT, NAMES, Backend, backend, backends
from mer_engine.cache import KeyValueCache, cache_folder
from mer_engine.engine import Announce, Engine, self_check
from mer_engine.errors import BackendError, ModelError, NotCompiledError

# Updates before the timed ones, and timed updates.
_WARM_UP = 3
_TIMED = 15


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of trying a backend.

    Attributes:
        name: name of the backend.
        missing: why the backend is not available or may not run; empty where it may.
        verdict: result of the parity gate; None where the gate did not run.
        update_ms: time of a typical update; None where it was not measured.
        engine: the loaded engine, where it may run.
        absent: whether a package, card or compiled engine is missing, which is not an error.
        hint: what the user can do to get the backend; mostly empty.
    """

    name: str
    missing: str = ""
    verdict: parity.ParityResult | None = None
    update_ms: float | None = None
    engine: Engine | None = None
    absent: bool = False
    hint: str = ""


def open_backend(path: Path, name: str, announce: Announce) -> Engine:
    """Load a model file with a backend that has passed the parity gate.

    Args:
        path: the model file.
        name: one of `NAMES`; "auto" takes the fastest that passes.
        announce: receives sentences for the user: which backend runs and why, what takes long, what
            failed.

    Raises:
        ModelError: the file is missing or damaged, or made for another front-end.
        BackendError: the backend is not available or did not pass the gate; with "auto", none did.
        ValueError: there is no backend of that name.
    """
    if name == AUTO:
        return _fastest(path, announce)
    if name not in NAMES:
        raise ValueError(f"the backend is {name!r}; it must be one of: {', '.join(NAMES)}")
    finding = try_backend(path, backend(name), announce)
    if finding.engine is None:
        raise BackendError(f"the backend {name} cannot run here: {finding.missing}")
    return _guarded(finding.engine, path, announce)


def try_backend(path: Path, entry: Backend, announce: Announce) -> Finding:
    """Load a model file with a backend and run the parity gate.

    The default backend's result is cached for this model, library and processor. The gate runs
    every time for the other backends, because a driver or a compiled engine may have changed.

    Raises:
        ModelError: the model file is faulty, not the backend.
    """
    missing = entry.missing()
    if missing is not None:
        return Finding(entry.name, missing, absent=True)
    try:
        if entry.name == DEFAULT:
            return _in_parts(_try_default(path, entry, announce))
        engine = entry.open(path, announce)
        engine.info.check_fits(engine.info.frontend)
        if not parity.has_reference(engine.info):
            return Finding(entry.name, parity.missing_reference(engine.info))
        verdict = parity.check(engine)
        if not verdict.passed:
            return Finding(entry.name, _refused(verdict), verdict)
    except NotCompiledError as error:
        return Finding(entry.name, str(error), absent=True, hint=str(error))
    except Exception as error:  # drivers and their libraries raise errors of many types
        if isinstance(error, ModelError) and not isinstance(error, BackendError):
            raise
        return Finding(entry.name, str(error).splitlines()[0] if str(error) else repr(error))
    return Finding(entry.name, "", verdict, None, engine)


def _try_default(path: Path, entry: Backend, announce: Announce) -> Finding:
    from mer_engine.backends.onnxruntime import environment

    engine = entry.open(path, announce)
    # Compares the stored fingerprint with today's for the same settings: it refuses a model of an
    # older front-end, and one whose settings were edited.
    engine.info.check_fits(engine.info.frontend)
    self_check(engine)
    if not parity.has_reference(engine.info):
        return Finding(entry.name, "", None, None, engine)
    results = KeyValueCache(cache_folder() / "gate.json")
    key = f"{engine.info.sha256[:16]}, gate {parity.VERSION}, {environment()}"
    verdict = _cached_result(results, key)
    if verdict is None:
        verdict = parity.check(engine)
        results.put(key, verdict.to_dict())
    if not verdict.passed:
        return Finding(entry.name, _refused(verdict), verdict)
    return Finding(entry.name, "", verdict, None, engine)


def _in_parts(finding: Finding) -> Finding:
    """Let the default engine classify fewer sounds, after the gate has compared all of them."""
    from mer_engine.backends.onnxruntime import OnnxRuntimeEngine

    if isinstance(finding.engine, OnnxRuntimeEngine):
        finding.engine.use_parts()
    return finding


def _cached_result(results: KeyValueCache, key: str) -> parity.ParityResult | None:
    stored = results.get(key)
    try:
        return None if stored is None else parity.from_dict(DEFAULT, stored)
    except (KeyError, TypeError, ValueError):
        return None


def _fastest(path: Path, announce: Announce) -> Engine:
    findings = []
    for entry in backends():
        if not entry.automatic:
            continue
        findings.append(try_backend(path, entry, announce))
        # A model without the reference's outputs runs with the default backend only.
        if entry.name == DEFAULT and findings[0].engine is not None and not findings[0].verdict:
            announce(f"backend: {DEFAULT}; {parity.missing_reference(findings[0].engine.info)}")
            return findings[0].engine
    if sum(finding.engine is not None for finding in findings) > 1:
        findings = [timed(finding) for finding in findings]
    taken = best(findings)
    if taken is None or taken.engine is None:
        raise BackendError(
            "no backend may run on this machine: "
            + "; ".join(f"{finding.name}: {finding.missing}" for finding in findings)
        )
    others = [
        f"{finding.name} takes {finding.update_ms:.1f} ms"
        for finding in findings
        if finding.engine is not None and finding is not taken
    ]
    # The user learns which backends failed, but not which ones are not installed.
    failed = [f"{f.name} may not run: {f.missing}" for f in findings if _failed(f)]
    hints = [finding.hint for finding in findings if finding.hint]
    reason = "; ".join([*others, *hints] or ["nothing faster can run here"] * (not failed))
    took = f", {taken.update_ms:.1f} ms an update" if taken.update_ms is not None else ""
    parts = (f"backend: {taken.name}{took}", reason, *failed)
    announce("; ".join(part for part in parts if part))
    return _guarded(taken.engine, path, announce, warning="; ".join(failed))


def timed(finding: Finding) -> Finding:
    """Return the finding with the time of an update, where the backend may run."""
    if finding.engine is None:
        return finding
    return replace(finding, update_ms=time_update(finding.engine))


def best(findings: Sequence[Finding]) -> Finding | None:
    """Return the fastest backend that may run; None where none may."""
    available = [finding for finding in findings if finding.engine is not None]
    return min(available, key=lambda finding: finding.update_ms or 0.0, default=None)


def _failed(finding: Finding) -> bool:
    return finding.engine is None and not finding.absent


def _guarded(engine: Engine, path: Path, announce: Announce, warning: str = "") -> Engine:
    """Return the engine with its warning, and with the default backend as its fallback."""
    from mer_engine.backends.onnxruntime import OnnxRuntimeEngine

    if engine.backend == DEFAULT:
        if isinstance(engine, OnnxRuntimeEngine):
            engine.warning = warning
        return engine

    def load_default() -> Engine:
        finding = try_backend(path, backend(DEFAULT), announce)
        if finding.engine is None:
            raise BackendError(finding.missing)
        return finding.engine

    guarded = FallbackEngine(engine, load_default, announce)
    guarded.warning = warning
    return guarded


def time_update(engine: Engine) -> float:
    """Return the time in ms of a typical update: one second of music after a full window.

    This is the shortest of several, since other programs only add to the time.
    """
    inputs = BenchmarkInput.of(engine.info)
    seconds = []
    for _ in range(_WARM_UP + _TIMED):
        start = time.perf_counter()
        engine.infer(*inputs)
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds[_WARM_UP:])


def _refused(verdict: parity.ParityResult) -> str:
    return f"it differs from the reference by {verdict.figures}"
