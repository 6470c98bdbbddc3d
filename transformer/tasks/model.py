"""What a config's model consists of and costs, without training or reading any corpus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from transformer.config import Config, Overrides, as_config
from transformer.data.tokenizer import PAD, Tokenizer, with_own_models
from transformer.model.build import build_model
from transformer.model.summary import Costs, Row, costs, weights
from transformer.reading import JsonObject
from transformer.run.directory import RunDirectory


@dataclass(frozen=True)
class ModelDescription:
    """A model that was not built.

    Attributes:
        config: that describes it.
        rows: its weights, those of like layers in one.
        costs: of work with it.
        vocabulary: pieces of the target side.
    """

    config: Config
    rows: list[Row]
    costs: Costs
    vocabulary: int

    @property
    def parameters(self) -> int:
        """Of all weights."""
        return sum(row.parameters for row in self.rows)


def describe_model(config: Config | JsonObject | str | Path, overrides: Overrides = ()) -> ModelDescription:
    """Describe the model of a config, or of a run.

    Raises:
        UserError: for a config that is missing or wrong, or a tokenizer that cannot be read.
    """
    parsed = as_config(config, overrides)
    options = parsed.tokenizer
    if isinstance(config, str | Path) and Path(config).is_dir():
        options = with_own_models(options, RunDirectory(Path(config)).tokenizer)
    given = options.source_model, options.target_model or options.source_model
    source, target = (Tokenizer.load(Path(path)).vocab_size if path else options.vocab_size for path in given)
    with torch.device("meta"):
        model = build_model(parsed.model, source, target, PAD).eval()
    return ModelDescription(parsed, weights(model), costs(model), target)
