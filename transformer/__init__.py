"""Encoder-decoder Transformers for translation: *Attention Is All You Need* (Vaswani et al. 2017) in PyTorch.

from transformer import load
load("runs/demo").translate(["你能让它变得更安全吗？"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from transformer.decoding.translator import Translator

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(run: str | Path, *overrides: str) -> Translator:
    """Load a trained run and return its translator.

    Sets PyTorch's threads (`run.threads`), its fp32 matrix products and glibc's allocator for the whole process.

    Args:
        run: a run directory, or one checkpoint directory inside it.
        overrides: `section.key=value` strings, e.g. `"decoding.beam_size=1"`, `"run.device=cpu"`.

    Raises:
        UserError: where `run` is no run, or a file in it is damaged; the message names it.
    """
    from transformer.tasks.translators import open_translator  # imports torch: only when a model is wanted

    return open_translator(run, overrides)
