"""Which backend serves: the fastest that tells what the reference tells."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mer_engine.backends import parity
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.backends.registry import AUTO, DEFAULT, NAMES, Announce, Backend, backend, backends
from mer_engine.cache import KeyValueCache, cache_folder
from mer_engine.engine import Engine, self_check
from mer_engine.errors import BackendError, ModelError, NotCompiledError

_BURN_IN = 3
_TIMED = 15


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a backend.

    Attributes:
        name: of the backend.
        missing: why it cannot be had or may not serve; empty where it may.
        verdict: of the parity gate; None where it was not reached, or the model holds no answers.
        update_ms: what a usual update costs; None where that was not measured.
        engine: the loaded engine, where it may serve.
        absent: whether it is simply not there (no package, no card), which is no fault.
        hint: what the user could do to have it; mostly empty.
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
        announce: takes a sentence for the user: which one serves and why, what takes long, what
            went wrong.

    Raises:
        ModelError: the file is missing or damaged, or made for another front-end.
        BackendError: the named backend cannot be had here, or the gate refused it; or none passes.
        ValueError: there is no backend of that name.
    """
    if name == AUTO:
        return _fastest(path, announce)
    if name not in NAMES:
        raise ValueError(f"the backend is {name!r}; it must be one of: {', '.join(NAMES)}")
    finding = try_backend(path, backend(name), announce)
    if finding.engine is None:
        raise BackendError(f"the backend {name} cannot serve here: {finding.missing}")
    return _guarded(finding.engine, path, announce)


def try_backend(path: Path, entry: Backend, announce: Announce) -> Finding:
    """Load a model file with a backend and put it through the gate.

    The default backend's verdict is remembered for this model, library and processor; all others
    are tried each time, since a driver or a compiled engine may have changed.

    Raises:
        ModelError: what is wrong is the model file, not the backend.
    """
    missing = entry.missing()
    if missing is not None:
        return Finding(entry.name, missing, absent=True)
    if entry.name == DEFAULT:
        return _try_default(path, entry, announce)
    try:
        engine = entry.open(path, announce)
        engine.info.check_fits(engine.info.frontend)
        if not parity.has_answers(engine.info):
            return Finding(entry.name, parity.no_answers(engine.info))
        verdict = parity.check(engine)
        if not verdict.passed:
            return Finding(entry.name, _refused(verdict), verdict)
    except NotCompiledError as error:
        return Finding(entry.name, str(error), absent=True, hint=str(error))
    except Exception as error:  # drivers, cards and their libraries fail in ways of their own
        if isinstance(error, ModelError) and not isinstance(error, BackendError):
            raise
        return Finding(entry.name, str(error).splitlines()[0] if str(error) else repr(error))
    return Finding(entry.name, "", verdict, None, engine)


def _try_default(path: Path, entry: Backend, announce: Announce) -> Finding:
    from mer_engine.backends.onnxruntime import where

    engine = entry.open(path, announce)
    # The fields as stored, under today's arithmetic: an edited or older front-end does not match.
    engine.info.check_fits(engine.info.frontend)
    self_check(engine)
    if not parity.has_answers(engine.info):
        return Finding(entry.name, "", None, None, engine)
    notes = KeyValueCache(cache_folder() / "gate.json")
    key = f"{engine.info.sha256[:16]}, gate {parity.VERSION}, {where()}"
    verdict = _noted(notes, key)
    if verdict is None:
        verdict = parity.check(engine)
        notes.put(key, verdict.to_dict())
    if not verdict.passed:
        return Finding(entry.name, _refused(verdict), verdict)
    return Finding(entry.name, "", verdict, None, engine)


def _noted(notes: KeyValueCache, key: str) -> parity.ParityResult | None:
    noted = notes.get(key)
    try:
        return None if noted is None else parity.from_dict(DEFAULT, noted)
    except (KeyError, TypeError, ValueError):
        return None


def _fastest(path: Path, announce: Announce) -> Engine:
    findings = []
    for entry in backends():
        if not entry.automatic:
            continue
        findings.append(try_backend(path, entry, announce))
        # A model without the reference's answers goes with the default alone.
        if entry.name == DEFAULT and findings[0].engine is not None and not findings[0].verdict:
            announce(f"backend: {DEFAULT}; {parity.no_answers(findings[0].engine.info)}")
            return findings[0].engine
    if sum(finding.engine is not None for finding in findings) > 1:
        findings = [timed(finding) for finding in findings]
    taken = best(findings)
    if taken is None or taken.engine is None:
        raise BackendError(
            "no backend may serve on this machine: "
            + "; ".join(f"{finding.name}: {finding.missing}" for finding in findings)
        )
    others = [
        f"{finding.name} takes {finding.update_ms:.1f} ms"
        for finding in findings
        if finding.engine is not None and finding is not taken
    ]
    # What was there and failed is told to everyone; what is not installed is not worth a word.
    failed = [f"{f.name} may not serve: {f.missing}" for f in findings if _failed(f)]
    hints = [finding.hint for finding in findings if finding.hint]
    reason = "; ".join([*others, *hints] or ["nothing faster can run here"] * (not failed))
    took = f", {taken.update_ms:.1f} ms an update" if taken.update_ms is not None else ""
    told = (f"backend: {taken.name}{took}", reason, *failed)
    announce("; ".join(part for part in told if part))
    return _guarded(taken.engine, path, announce, note="; ".join(failed))


def timed(finding: Finding) -> Finding:
    """The finding with what an update costs, where the backend may serve."""
    if finding.engine is None:
        return finding
    return replace(finding, update_ms=time_update(finding.engine))


def best(findings: Sequence[Finding]) -> Finding | None:
    """The fastest of those that may serve; None where none may."""
    serving = [finding for finding in findings if finding.engine is not None]
    return min(serving, key=lambda finding: finding.update_ms or 0.0, default=None)


def _failed(finding: Finding) -> bool:
    return finding.engine is None and not finding.absent


def _guarded(engine: Engine, path: Path, announce: Announce, note: str = "") -> Engine:
    """The engine, with the default behind it where it is another, and with its note."""
    from mer_engine.backends.onnxruntime import OnnxRuntimeEngine

    if engine.backend == DEFAULT:
        if isinstance(engine, OnnxRuntimeEngine):
            engine.note = note
        return engine

    def spare() -> Engine:
        finding = try_backend(path, backend(DEFAULT), announce)
        if finding.engine is None:
            raise BackendError(finding.missing)
        return finding.engine

    guarded = FallbackEngine(engine, spare, announce)
    guarded.note = note
    return guarded


def time_update(engine: Engine) -> float:
    """Time of a usual update, one second of music after a full window, in ms.

    The least of several: what else the machine does only adds to it.
    """
    inputs = BenchmarkInput.of(engine.info)
    seconds = []
    for _ in range(_BURN_IN + _TIMED):
        start = time.perf_counter()
        engine.infer(*inputs)
        seconds.append(time.perf_counter() - start)
    return 1e3 * min(seconds[_BURN_IN:])


def _refused(verdict: parity.ParityResult) -> str:
    return f"it differs from the reference by {verdict.figures}"
