"""Encoder-decoder Transformers for translation: *Attention Is All You Need* (Vaswani et al. 2017) in PyTorch.

    from transformer import load
    load("runs/demo").translate(["你能让它变得更安全吗？"])

Everything the command line does is a function here: `train`, `prepare`, `evaluate`, `translate_file`, … They take
paths, `Config` objects or mappings, return values, print nothing, and report progress to a `Reporter`."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformer.config import Config
    from transformer.decoding.request import Request
    from transformer.decoding.translator import Translator
    from transformer.errors import UserError
    from transformer.run.run import Run
    from transformer.tasks.compare import compare
    from transformer.tasks.evaluate import evaluate
    from transformer.tasks.prepare import prepare
    from transformer.tasks.train import train
    from transformer.tasks.translate import translate_file
    from transformer.tasks.translators import load

__version__ = "0.1.0"
__all__ = [
    "Config",
    "Request",
    "Run",
    "Translator",
    "UserError",
    "__version__",
    "compare",
    "evaluate",
    "load",
    "prepare",
    "train",
    "translate_file",
]

# where each name lives: imported when it is asked for, since most of them bring PyTorch along
_HOMES = {
    "Config": "config",
    "Request": "decoding.request",
    "Run": "run.run",
    "Translator": "decoding.translator",
    "UserError": "errors",
    "compare": "tasks.compare",
    "evaluate": "tasks.evaluate",
    "load": "tasks.translators",
    "prepare": "tasks.prepare",
    "train": "tasks.train",
    "translate_file": "tasks.translate",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'transformer' has no attribute {name!r}")
    return getattr(importlib.import_module(f"transformer.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
