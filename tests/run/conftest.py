"""A small checkpoint on disk, and a small model with an optimizer that has moved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from transformer.config import ModelSection
from transformer.model.build import build_model
from transformer.model.transformer import Transformer
from transformer.run.store import write_checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint directory with a few tensors and counters."""
    generator = torch.Generator().manual_seed(1)
    directory = tmp_path / "checkpoints" / "00000020"
    model = {"a.weight": torch.randn(4, 3, generator=generator), "b.bias": torch.randn(5, generator=generator)}
    moments = {
        f"optimizer.exp_avg.{name}": torch.rand(value.shape, generator=generator) for name, value in model.items()
    }
    write_checkpoint(directory, model, moments, {"update": 20, "seconds": 1.5e-7, "best_value": None})
    return directory


@pytest.fixture
def model() -> Transformer:
    """Two layers of width 16, three-way tied."""
    torch.manual_seed(1)
    options = ModelSection(d_model=16, d_ff=32, num_heads=2, num_encoder_layers=1, num_decoder_layers=1, dropout=0.1)
    return build_model(options, 20, 20, 0)
