"""The parts and costs of a config's model, without training or reading a corpus."""

from dataclasses import dataclass
from pathlib import Path

import torch

from transformer.config import Config, Overrides, as_config
from transformer.data.tokenizer import PAD, Tokenizer, with_own_models
from transformer.model.build import build_model
from transformer.model.inspection.summary import Costs, Row, costs, weights
from transformer.reading import JsonObject
from transformer.run.directory import RunDirectory


@dataclass(frozen=True)
class ModelDescription:
    """A description of a model that was not built."""

    config: Config
    rows: list[Row]  # of weights; like layers share a row
    costs: Costs  # computation and memory for using it
    vocabulary: int  # number of target pieces

    @property
    def parameters(self) -> int:
        """Total number of parameters."""
        return sum(row.parameters for row in self.rows)


def describe_model(config: Config | JsonObject | str | Path, overrides: Overrides = ()) -> ModelDescription:
    """Describe the model of a config, or of a run. Raises `UserError` for a missing or wrong config, or an
    unreadable tokenizer."""
    parsed = as_config(config, overrides)
    options = parsed.tokenizer
    if isinstance(config, str | Path) and Path(config).is_dir():
        options = with_own_models(options, RunDirectory(Path(config)).tokenizer)
    given = options.source_model, options.target_model or options.source_model
    source, target = (Tokenizer.load(Path(path)).vocab_size if path else options.vocab_size for path in given)
    with torch.device("meta"):
        model = build_model(parsed.model, source, target, PAD).eval()
    return ModelDescription(parsed, weights(model), costs(model), target)
