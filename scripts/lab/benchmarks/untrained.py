"""The untrained model of a config; speed does not depend on the values of the weights."""

from __future__ import annotations

from transformer.config import Config
from transformer.data.prepared import Prepared
from transformer.data.tokenizer import PAD
from transformer.model.build import build_model
from transformer.model.transformer import Transformer
from transformer.runtime.device import choose_device
from transformer.runtime.seeding import seed_everything


def untrained_model(config: Config, prepared: Prepared) -> Transformer:
    """The model on the config's device, initialised from its seed."""
    seed_everything(config.run.seed)
    sizes = prepared.source_tokenizer.vocab_size, prepared.target_tokenizer.vocab_size
    return build_model(config.model, *sizes, PAD).to(choose_device(config.run.device))
