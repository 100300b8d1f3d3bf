"""Live music emotion recognition: valence and arousal of the music being played, with intervals.

    import realtime_mer

    for estimate in realtime_mer.analyze("song.flac"):
        print(estimate.t, estimate.valence, estimate.arousal, estimate.mood)

docs/python.md describes every name of `__all__`. What a name needs is imported when it is first
used: `import realtime_mer` itself imports nothing.
"""

TYPE_CHECKING = False  # type checkers take it for `typing.TYPE_CHECKING`, which costs an import

if TYPE_CHECKING:
    from mer_engine import Engine as Model

    from realtime_mer.analysis import Analysis, DamagedFileError
    from realtime_mer.api import (
        Listener,
        Tracker,
        analyze,
        devices,
        listen,
        load_model,
    )
    from realtime_mer.audio.microphone import InputDevice
    from realtime_mer.audio.source import Input, SourceLost
    from realtime_mer.client import Connection, connect
    from realtime_mer.core.events import Event, EventKind
    from realtime_mer.core.types import Estimate, FastValues, Latency, ScaledValues, State
    from realtime_mer.errors import BadSamplesError, EngineError, UserError
    from realtime_mer.live.hub import Notice

__version__ = "0.1.0"

__all__ = [
    "Analysis",
    "BadSamplesError",
    "Connection",
    "DamagedFileError",
    "EngineError",
    "Estimate",
    "Event",
    "EventKind",
    "FastValues",
    "Input",
    "InputDevice",
    "Latency",
    "Listener",
    "Model",
    "Notice",
    "ScaledValues",
    "SourceLost",
    "State",
    "Tracker",
    "UserError",
    "__version__",
    "analyze",
    "connect",
    "devices",
    "listen",
    "load_model",
]

_MODULES = {
    "Analysis": "realtime_mer.analysis",
    "BadSamplesError": "realtime_mer.errors",
    "Connection": "realtime_mer.client",
    "DamagedFileError": "realtime_mer.analysis",
    "EngineError": "realtime_mer.errors",
    "Estimate": "realtime_mer.core.types",
    "Event": "realtime_mer.core.events",
    "EventKind": "realtime_mer.core.events",
    "FastValues": "realtime_mer.core.types",
    "Latency": "realtime_mer.core.types",
    "Notice": "realtime_mer.live.hub",
    "ScaledValues": "realtime_mer.core.types",
    "SourceLost": "realtime_mer.audio.source",
    "State": "realtime_mer.core.types",
    "UserError": "realtime_mer.errors",
    "connect": "realtime_mer.client",
}


# Type checkers need to see that there is nothing else.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'realtime_mer' has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(_MODULES.get(name, "realtime_mer.api")), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
