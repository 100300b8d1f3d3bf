"""Choose backends: the fastest for one window and for many, of those that pass the parity gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mer_engine.backends import parity, speed
from mer_engine.backends.by_batch import ByBatchEngine
from mer_engine.backends.card_engine import keep
from mer_engine.backends.fallback import FallbackEngine
from mer_engine.backends.own_thread import OwnThreadEngine
from mer_engine.backends.registry import AUTO, DEFAULT, NAMES, Backend, backend, backends
from mer_engine.cache import KeyValueCache, cache_folder
from mer_engine.engine import Announce, Engine, self_check
from mer_engine.errors import BackendError, ModelError, NotCompiledError


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of trying a backend.

    Attributes:
        name: name of the backend.
        missing: why the backend is not available or may not run; empty where it may.
        verdict: result of the parity gate; None where the gate did not run.
        speed: times of its calls; None where they were not measured.
        engine: the loaded engine, where it may run.
        absent: whether a package, card or compiled engine is missing, which is not an error.
        hint: what the user can do to get the backend; mostly empty.
    """

    name: str
    missing: str = ""
    verdict: parity.ParityResult | None = None
    speed: speed.Speed | None = None
    engine: Engine | None = None
    absent: bool = False
    hint: str = ""

    @property
    def on_card(self) -> bool:
        """Whether the backend runs on a graphics card."""
        return backend(self.name).card

    def ms(self, windows: int) -> float:
        """Return the time of so many windows that come at once, in ms; 0 where not measured."""
        return 0.0 if self.speed is None else self.speed.ms(windows)


def open_backend(path: Path, name: str, announce: Announce) -> Engine:
    """Load a model file with a backend that has passed the parity gate.

    Args:
        path: the model file.
        name: one of `NAMES`; "auto" takes the fastest that pass, for one window and for many.
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
    if name == DEFAULT:
        return finding.engine
    default = try_backend(path, backend(DEFAULT), announce).engine
    return _guarded(finding, default, announce)


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
    engine = None
    try:
        if entry.name == DEFAULT:
            return _in_parts(_try_default(path, entry, announce))
        open_engine = partial(entry.open, path, announce)
        engine = OwnThreadEngine(open_engine) if entry.card else open_engine()
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
        if engine is not None:
            keep(engine)
        return Finding(entry.name, _reason(error))
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
    chosen = choose(findings)
    if chosen is None:
        raise BackendError(
            "no backend may run on this machine: "
            + "; ".join(f"{finding.name}: {finding.missing}" for finding in findings)
        )
    others = [
        f"{finding.name} takes {finding.speed.text}"
        for finding in findings
        if finding.speed is not None and finding not in (chosen.small, chosen.large)
    ]
    # The user learns which backends failed, but not which ones are not installed.
    failed = [f"{f.name} may not run: {f.missing}" for f in findings if _failed(f)]
    hints = [finding.hint for finding in findings if finding.hint]
    nothing = [] if chosen.small.speed or hints or failed else ["nothing faster can run here"]
    announce("; ".join([f"backend: {chosen.text}", *others, *hints, *nothing, *failed]))
    default = next((f.engine for f in findings if f.name == DEFAULT), None)
    return _combined(chosen, default, announce, "; ".join(failed))


@dataclass(frozen=True, slots=True)
class Choice:
    """The backends that run.

    Attributes:
        small: the fastest for one window.
        large: the fastest for many windows that come at once; often the same.
        from_size: the windows of the smallest call for `large`.
    """

    small: Finding
    large: Finding
    from_size: int = 2

    @property
    def text(self) -> str:
        """Which backend runs what, with the times."""
        small, large = (
            f"{each.name}{'' if each.speed is None else f', {each.speed.text}'}"
            for each in (self.small, self.large)
        )
        if self.small is self.large:
            return small
        return f"{small}; from {self.from_size} windows at a time {large}"


def choose(findings: Sequence[Finding]) -> Choice | None:
    """Return the fastest backends that may run, the first ones where nothing was measured.

    At most one of them runs on a card: one library cannot record work while another allocates
    memory there.

    Returns:
        None where none may run.
    """
    available = [finding for finding in findings if finding.engine is not None]
    if not available:
        return None
    large = min(available, key=lambda each: each.ms(speed.MANY))
    beside = [each for each in available if each is large or not (each.on_card and large.on_card)]
    small = min(beside, key=lambda each: each.ms(1))
    sizes = (size for size in range(2, speed.MANY) if large.ms(size) < small.ms(size))
    return Choice(small, large, next(sizes, speed.MANY))


def timed(finding: Finding, *, anew: bool = False) -> Finding:
    """Return the finding with the speed of the backend, where it may run.

    Args:
        finding: from `try_backend`.
        anew: whether to measure although the cache has the speed.

    Returns:
        With the speed; or without the engine, where a call failed.
    """
    if finding.engine is None:
        return finding
    try:
        found = speed.speed_of(finding.engine, on_card=finding.on_card, anew=anew)
    except Exception as error:  # for example, the card has memory for small calls only
        keep(finding.engine)
        return replace(finding, missing=_reason(error), engine=None)
    return replace(finding, speed=found)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else repr(error)


def _failed(finding: Finding) -> bool:
    return finding.engine is None and not finding.absent


def _combined(
    chosen: Choice, default: Engine | None, announce: Announce, warning: str = ""
) -> Engine:
    """Return the engine that runs the chosen backends, each with the default as its fallback."""
    small = _guarded(chosen.small, default, announce, warning)
    if chosen.large is chosen.small:
        return small
    large = _guarded(chosen.large, default, announce, warning)
    return ByBatchEngine(small, large, chosen.from_size, announce)


def _guarded(
    finding: Finding, default: Engine | None, announce: Announce, warning: str = ""
) -> Engine:
    """Return the engine of a finding with its warning, and with the default as its fallback."""
    from mer_engine.backends.onnxruntime import OnnxRuntimeEngine

    engine = finding.engine
    assert engine is not None
    if isinstance(engine, OnnxRuntimeEngine) and finding.name == DEFAULT:
        engine.warning = warning
        return engine
    if default is None:
        announce(f"nothing can replace {finding.name} if it fails: {DEFAULT} may not run here")
        return engine
    if isinstance(engine, OwnThreadEngine):
        engine.impatient = True
    guarded = FallbackEngine(engine, default, announce)
    guarded.warning = "; ".join(filter(None, (guarded.warning, warning)))
    return guarded


def _refused(verdict: parity.ParityResult) -> str:
    return f"it differs from the reference by {verdict.figures}"
