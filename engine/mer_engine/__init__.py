"""The emotion engine: features, model file and inference, independent of the application."""

from mer_engine.engine import Engine, Inference
from mer_engine.errors import ModelError
from mer_engine.frontend import FrontEnd, FrontEndConfig
from mer_engine.loading import load_engine
from mer_engine.model_file import ModelInfo

__all__ = [
    "Engine",
    "FrontEnd",
    "FrontEndConfig",
    "Inference",
    "ModelError",
    "ModelInfo",
    "load_engine",
]
