"""Every option of the program, with its type and meaning, here and in the files of the larger sections.

The docstring of a field is its documentation: `transformer config schema` writes them into a JSON Schema for editors.
Lengths are in tokens, intervals in updates (one update is one optimizer step), times in minutes.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from transformer.config.corpora import Corpora
from transformer.config.decoding_section import DecodingSection
from transformer.config.model_section import ModelSection
from transformer.config.section import NonNegative, Positive, Section
from transformer.config.training_section import TrainingSection

SPLITS = ("train", "validation", "test")

# Options that may change when a run resumes; any other change would make it a different run. Corpora may move, because
# their content is compared instead.
_MAY_CHANGE = {
    "run": "directory device threads stall_minutes preflight tensorboard",
    "training": "max_updates max_epochs max_minutes micro_batch_tokens log_every keep_checkpoints max_skipped_updates "
    "max_rewinds sharding compile",
    "data": "train validation test guard prepared_directory licence",
    "validation": "patience",
}
MAY_CHANGE_ON_RESUME = frozenset(f"{section}.{key}" for section, keys in _MAY_CHANGE.items() for key in keys.split())


class RunSection(Section):
    """Where the run is stored and what it runs on."""

    directory: str = Field(min_length=1)
    """The run directory: config, tokenizer, checkpoints, metrics. It is the model; using it needs nothing else."""
    seed: int = Field(default=1, ge=0, lt=2**32)
    """Seed for initialisation, dropout and data order."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto` picks CUDA, else Apple's MPS, else the CPU."""
    threads: int | None = Field(default=None, gt=0, le=1024)
    """CPU threads; empty means one per physical core available to this process, shared among a job's processes on one
    machine."""
    stall_minutes: float = Field(default=30.0, gt=0, le=10_000)
    """With several processes: one that makes no progress for this long, validation included, prints a stack trace and
    exits, which ends the job."""
    preflight: bool = True
    """Before the first update, try everything the run will need: the longest batch, a small validation, writing and
    reading a checkpoint, free disk space, a tokenizer that covers the validation corpus. Changes no result."""
    tensorboard: bool = False
    """Also write the records of `metrics.jsonl` to the run's `tensorboard/`, for `tensorboard --logdir RUN`. Needs `pip
    install tensorboard`."""


class DataSection(Section):
    """The corpora and their preparation."""

    source_language: str = Field(min_length=1)
    """Language code of the source side, e.g. `zh`, for reports; a target of `ja`, `zh` or `ko` also selects sacreBLEU's
    tokenizer."""
    target_language: str = Field(min_length=1)
    """Language code of the target side."""
    train: Corpora = Field(min_length=1)
    """One corpus, or a list of corpora to concatenate."""
    validation: Corpora = Field(min_length=1)
    """Corpus that selects the best checkpoint. Translated whole; its loss skips empty lines."""
    test: Corpora = ()
    """Corpus that `transformer evaluate` scores; training never reads it."""
    guard: Corpora = ()
    """When fine-tuning (`training.start_from`): a corpus from the original domain, translated at the start and at each
    validation to show what the model forgets. Does not affect the choice of checkpoint."""
    licence: str | None = Field(default=None, max_length=1000)
    """Licence of the corpora, e.g. `CC BY 2.0 FR`; shown in the run's card and used nowhere else."""
    prepared_directory: str = Field(default="data/prepared", min_length=1)
    """Cache for encoded corpora, one folder per combination of corpora and tokenizer options."""
    max_length: Positive = 256
    """Drop training pairs with more tokens than this on either side."""
    max_length_ratio: float = Field(default=4.0, ge=1.0)
    """Drop training pairs whose longer side has at least 10 tokens and more than this many times the tokens of the
    shorter."""
    bucket_window: Positive = 256
    """Batching shuffles the sentences, cuts them into windows of about this many batches and sorts each window by
    length: larger pads less, smaller mixes more. At most 32 with `training.subword_sampling`."""


class TokenizerSection(Section):
    """SentencePiece: trained on the training corpus, or an existing model."""

    model_type: Literal["unigram", "bpe"] = "unigram"
    """Unigram language model (Kudo 2018) or byte-pair encoding (Sennrich et al. 2016)."""
    vocab_size: int = Field(default=8000, gt=260, le=1_000_000)
    """Number of pieces, including 4 special and 256 byte pieces; per side if `shared` is false."""
    shared: bool = True
    """One vocabulary for both languages (needed for three-way tied embeddings), or one each."""
    character_coverage: float = Field(default=1.0, gt=0.9, le=1.0)
    """Share of the corpus's characters that get their own piece; rarer ones are spelled in bytes. 0.9995 suits Chinese
    and Japanese."""
    normalization: Literal["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"] = "nmt_nfkc"
    """SentencePiece's normalisation rule; `_cf` folds case, `identity` changes no character."""
    training_sentences: int = Field(default=2_000_000, ge=100, le=1_000_000_000)
    """Train the tokenizer on at most this many sentences, drawn at random."""
    source_model: str | None = None
    """An existing SentencePiece model to use instead of training one: for the source side, or both if `shared`."""
    target_model: str | None = None
    """An existing SentencePiece model for the target side, if `shared` is false."""

    @model_validator(mode="after")
    def _models_fit(self) -> TokenizerSection:
        if self.shared and self.target_model is not None:
            raise ValueError("target_model is for shared: false; a shared tokenizer is given as source_model")
        if not self.shared and (self.source_model is None) != (self.target_model is None):
            raise ValueError("give both source_model and target_model, or neither")
        return self


class ValidationSection(Section):
    """How often to validate, by which metric, and when to stop early."""

    every: Positive = 1000
    """Updates between two validations; there is always one at the end."""
    metric: Literal["bleu", "chrf", "loss"] = "bleu"
    """Metric that selects the best checkpoint."""
    max_sentences: NonNegative | None = None
    """Translate only this many sentences, from the top; empty means all, 0 computes only the loss."""
    patience: Positive | None = None
    """Stop after this many validations in a row without improvement; empty means never."""

    @model_validator(mode="after")
    def _metric_is_measured(self) -> ValidationSection:
        if self.max_sentences == 0 and self.metric != "loss":
            raise ValueError(f"metric {self.metric} needs translations; max_sentences is 0")
        return self


class Config(Section):
    """A whole run: everything that determines its result."""

    run: RunSection
    data: DataSection
    tokenizer: TokenizerSection = TokenizerSection()
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    validation: ValidationSection = ValidationSection()
    decoding: DecodingSection = DecodingSection()

    @model_validator(mode="after")
    def _sections_agree(self) -> Config:
        if self.model.tied_embeddings == "three_way" and not self.tokenizer.shared:
            raise ValueError("model.tied_embeddings three_way needs tokenizer.shared: true")
        if self.data.guard and self.training.start_from is None:
            raise ValueError("data.guard watches what training.start_from could do; give that, or leave out the guard")
        if self.data.guard and self.validation.max_sentences == 0:
            raise ValueError("data.guard is translated, and validation.max_sentences is 0; leave out one of them")
        dropouts = ("dropout", "attention_dropout", "activation_dropout")  # both passes leave out the same layers
        if self.training.r_drop and not any(getattr(self.model, name) for name in dropouts):
            raise ValueError("training.r_drop compares two draws of dropout, and the model has none; set model.dropout")
        if self.training.subword_sampling is not None and self.tokenizer.model_type == "bpe":
            raise ValueError("training.subword_sampling needs tokenizer.model_type: unigram, and it is bpe")
        longest, rows = self.data.max_length + 1, self.model.max_positions  # with the end mark
        if self.model.positions == "learned" and longest > rows:
            raise ValueError(f"model.max_positions {rows} is too few for data.max_length + end mark; give {longest}")
        every, saved = self.validation.every, self.checkpoint_every
        if every % saved:
            reason = f"training.checkpoint_every {saved}, or the best checkpoint might not be saved"
            raise ValueError(f"validation.every {every} must be a multiple of {reason}")
        return self

    @property
    def checkpoint_every(self) -> int:
        """Updates between two regular checkpoints."""
        return self.training.checkpoint_every or self.validation.every
