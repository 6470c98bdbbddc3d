"""A run as everything else sees it: opened once from a path and overrides, each parsed once.

A `Run` keeps the checkpoint that was first asked for, even if a running training moves `best` later."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from transformer.config import Config, Overrides, load_config, overridden_sections, override_config
from transformer.data.tokenizer import PAD, Tokenizer, load_tokenizers, tokenizer_hashes
from transformer.errors import UserError
from transformer.model.build import ModelBuilder, build_model, model_shapes
from transformer.model.transformer import Transformer
from transformer.reading import file_sha256
from transformer.run.directory import RunDirectory, run_of, split_checkpoint
from transformer.run.state import load_model_tensors
from transformer.run.store import MODEL_FILE, CheckpointError, MisfitError, read_checkpoint

TRAINED = ("run", "data", "decoding")  # sections that can change after training
BEST = "decoding.checkpoint=best"  # override for a run that another run names, whatever its own config says


class Run:
    """A run directory, or one of its checkpoints, with overrides applied to its options.

    Args:
        path: a run directory, or one of its checkpoint directories.
        overrides: `section.key=value` texts, or sections as a mapping: `{"decoding": {"beam_size": 1}}`.
        changeable: sections that overrides may change.
        build: builds the model, if it is not this project's own.
        stored_config: the content of `config.yaml`, if already known.

    Attributes:
        directory: paths of its files.
        stored_config: the config as training wrote it.
        config: the same with the overrides applied.

    Raises:
        UserError: if the path is no run, its config is damaged, or an override would change how it was trained.
    """

    def __init__(
        self,
        path: str | Path,
        overrides: Overrides = (),
        changeable: Sequence[str] = TRAINED,
        build: ModelBuilder | None = None,
        stored_config: Config | None = None,
    ) -> None:
        _check_sections(overrides, changeable)
        self.given = Path(path)
        self.directory = RunDirectory(run_of(path))
        self.stored_config = stored_config or load_config(self.directory.path)
        self.config = override_config(self.stored_config, overrides)
        self.build = build

    def __repr__(self) -> str:
        return f"Run({str(self.given)!r})"

    @property
    def path(self) -> Path:
        return self.directory.path

    def changed(self, overrides: Overrides) -> Run:
        """The same run with further overrides; keeps its checkpoint unless they name another."""
        _check_sections(overrides, TRAINED)
        other = copy.copy(self)
        other.config = override_config(self.config, overrides)
        for kept, names in (("checkpoint", ("checkpoint",)), ("members", ("ensemble",)), ("reverse", ("reverse",))):
            if any(getattr(other.config.decoding, name) != getattr(self.config.decoding, name) for name in names):
                other.__dict__.pop(kept, None)
        return other

    def at_checkpoint(self, name: str) -> Run:
        """The same run with another of its checkpoints; raises `CheckpointError` if there is none of that name."""
        other = copy.copy(self)
        other.checkpoint = self.directory.resolve(name)
        return other

    @property
    def named_checkpoint(self) -> str | None:
        """The checkpoint's name if the path names one, None if it names the run."""
        return split_checkpoint(self.given)[1]

    @functools.cached_property
    def checkpoint(self) -> Path:
        """The checkpoint directory that translates: the one named by the path, or `decoding.checkpoint`. Raises
        `CheckpointError` if it does not exist; the message lists those that do."""
        name = self.named_checkpoint
        return self.directory.checkpoint(name) if name else self.directory.resolve(self.config.decoding.checkpoint)

    def pinned(self) -> Run:
        """This run, with its checkpoint resolved now; raises `CheckpointError` like `checkpoint`."""
        _ = self.checkpoint
        return self

    @functools.cached_property
    def tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        """Tokenizers of source and target; the same object if they share a vocabulary."""
        return load_tokenizers(self.directory.tokenizer)

    @property
    def tokenizer_hashes(self) -> list[str]:
        return tokenizer_hashes(*self.tokenizers)

    @functools.cached_property
    def members(self) -> list[Run]:
        """The other runs of `decoding.ensemble`."""
        return [self._other(path) for path in self.config.decoding.ensemble]

    @functools.cached_property
    def reverse(self) -> Run | None:
        """The run of `decoding.reverse`, which translates in the other direction."""
        path = self.config.decoding.reverse
        return None if path is None else self._other(path)

    def _other(self, path: str) -> Run:
        """Another run that this one names: its best checkpoint, unless the path names one."""
        return Run(path, BEST, build=self.build)

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target language."""
        return self.config.data.source_language, self.config.data.target_language

    @property
    def model_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each weight by name, found without allocating any."""
        source, target = self.tokenizers
        return model_shapes(self.config.model, source.vocab_size, target.vocab_size, PAD, self.build)

    def load_model(self) -> Transformer:
        """The checkpoint's model, in evaluation mode, on the CPU.

        Raises:
            CheckpointError: if the checkpoint is missing or damaged; the message offers the newest good one.
            MisfitError: if it does not fit the model of the config; nothing was allocated for either.
        """
        try:
            stored = read_checkpoint(self.checkpoint, shapes=self.model_shapes)
        except MisfitError:
            raise  # the checkpoint is undamaged; another would fit no better
        except CheckpointError as error:
            good = self.directory.newest_good(but=self.checkpoint)
            if good is None:
                raise CheckpointError(f"{error}; no other checkpoint of this run is whole") from None
            advice = f"the newest good one is {good}: use it with decoding.checkpoint={int(good.name)}"
            raise CheckpointError(f"{error}; {advice}") from None
        source, target = self.tokenizers
        with torch.random.fork_rng(devices=[]):  # its initial weights, which are drawn in vain, cost no random number
            model = (self.build or build_model)(self.config.model, source.vocab_size, target.vocab_size, PAD)
        load_model_tensors(model, stored.model, self.checkpoint)
        return model.eval()

    def weights_sha256(self) -> str:
        """SHA-256 of the checkpoint's weights file."""
        path = self.checkpoint / MODEL_FILE
        try:
            return file_sha256(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); check the run") from None

    def translating_sha256(self) -> str:
        """Hash of what a calibration depends on: the weights, those of the ensemble, and the search unless it is
        beam search."""
        options = self.config.decoding
        hashes = [run.weights_sha256() for run in (self, *self.members)]
        ways = [way for way in (options.method, options.rerank) if way not in ("beam", "none")]
        parts = [*hashes, *ways]
        return parts[0] if len(parts) == 1 else hashlib.sha256("\n".join(parts).encode()).hexdigest()


def open_run(run: Run | str | Path, overrides: Overrides = ()) -> Run:
    """Open a path as a `Run`, or apply overrides to one that is already open, whose checkpoint is then pinned: two
    tasks on one `Run` use the same one."""
    if not isinstance(run, Run):
        return Run(run, overrides)
    with contextlib.suppress(CheckpointError):  # a task that needs a checkpoint says that there is none
        run.pinned()
    return run.changed(overrides)


def _check_sections(overrides: Overrides, changeable: Sequence[str]) -> None:
    for override, section in overridden_sections(overrides):
        if section not in Config.model_fields:
            raise UserError(f"{override}: no such section; there are {', '.join(Config.model_fields)}")
        if section not in changeable:
            allowed = ", ".join(f"{name}.*" for name in changeable[:-1]) + f" and {changeable[-1]}.*"
            raise UserError(f"{override}: a trained run cannot change this; only {allowed} can")
