"""A run directory into a model ready for use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformer.config import Config, load_config
from transformer.data.tokenizer import PAD, Tokenizer, load_tokenizers, tokenizer_hashes
from transformer.model.build import build_model, model_shapes
from transformer.model.transformer import Transformer
from transformer.run.directory import RunDirectory, run_of, split_checkpoint
from transformer.run.state import load_model_tensors
from transformer.run.store import CheckpointError, MisfitError, read_checkpoint


@dataclass(frozen=True)
class LoadedModel:
    """What translate, evaluate, export and a notebook use.

    Attributes:
        model: in evaluation mode, on the CPU.
        source_tokenizer, target_tokenizer: the same object where the vocabulary is shared.
        config: the run's resolved options.
        checkpoint: the directory that the weights came from.
    """

    model: Transformer
    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    config: Config
    checkpoint: Path

    @property
    def tokenizer_hashes(self) -> list[str]:
        """See `transformer.data.tokenizer.tokenizer_hashes`."""
        return tokenizer_hashes(self.source_tokenizer, self.target_tokenizer)


def load_model(run_or_checkpoint: str | Path, which: str = "best") -> LoadedModel:
    """Load a run's model.

    Args:
        run_or_checkpoint: a run directory, or one of its checkpoint directories (then `which` is not asked).
        which: `best`, `last`, `averaged` or an update's number.

    Raises:
        UserError: where the directory is no run.
        CheckpointError: where the checkpoint is missing or damaged; the message offers the newest good one.
        MisfitError: where it is of another model than the config describes; nothing was allocated for either.
    """
    path = run_of(run_or_checkpoint)
    which = split_checkpoint(Path(run_or_checkpoint))[1] or which
    config = load_config(path)
    run = RunDirectory(path)
    checkpoint_path = run.resolve(which)
    source_tokenizer, target_tokenizer = load_tokenizers(run.tokenizer)
    sizes = source_tokenizer.vocab_size, target_tokenizer.vocab_size
    try:
        checkpoint = read_checkpoint(checkpoint_path, shapes=model_shapes(config.model, *sizes, PAD))
    except MisfitError:
        raise  # the checkpoint is whole; another would fit no better
    except CheckpointError as error:
        raise _offering_another(error, run, checkpoint_path) from None
    model = build_model(config.model, *sizes, PAD)
    load_model_tensors(model, checkpoint.model, checkpoint_path)
    return LoadedModel(model.eval(), source_tokenizer, target_tokenizer, config, checkpoint_path)


def _offering_another(error: CheckpointError, run: RunDirectory, bad: Path) -> CheckpointError:
    """The same error with the newest other good checkpoint named, and what to do with it."""
    good = run.newest_good(but=bad)
    if good is None:
        return CheckpointError(f"{error}; no other checkpoint of this run is whole")
    return CheckpointError(f"{error}; the newest good one is {good}: use it with decoding.checkpoint={int(good.name)}")
