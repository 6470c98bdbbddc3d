"""Every option of the program, typed, with its meaning: here and in the files of the larger sections.

A field's docstring is its documentation: `transformer config schema` writes them into a JSON Schema that editors
show. Lengths are in tokens, intervals in updates (one update is one optimizer step), times in minutes.
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

# What a run may change when it goes on; anything else would make it another run.
MAY_CHANGE_ON_RESUME = frozenset(
    {
        "run.directory",
        "run.device",
        "run.threads",
        "run.stall_minutes",
        "run.preflight",
        "run.tensorboard",
        "training.max_updates",
        "training.max_epochs",
        "training.max_minutes",
        "training.micro_batch_tokens",
        "training.log_every",
        "training.keep_checkpoints",
        "training.max_skipped_updates",
        "training.max_rewinds",
        "training.sharding",
        "training.compile",
        "data.train",  # wherever the corpora lie: their content is compared instead
        "data.validation",
        "data.test",
        "data.guard",
        "data.prepared_directory",
        "data.licence",
        "validation.patience",
    }
)


class RunSection(Section):
    """Where a run lives and what it runs on."""

    directory: str = Field(min_length=1)
    """The run directory: config, tokenizer, checkpoints, metrics. It is the model; nothing else is needed to use it."""
    seed: int = Field(default=1, ge=0, lt=2**32)
    """Seeds initialisation, dropout and the order of the data."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """`auto` takes CUDA, else Apple's MPS, else the CPU."""
    threads: int | None = Field(default=None, gt=0, le=1024)
    """CPU threads; empty means one per physical core that this process may use, shared among the processes of a job on
    one machine."""
    stall_minutes: float = Field(default=30.0, gt=0, le=10_000)
    """With several processes: one that gets nowhere for so long, validation included, prints what it is at and ends,
    and the job with it."""
    preflight: bool = True
    """Before the first update try what the run will need: the longest batch, a validation in small, a checkpoint
    written and read back, free disk, a tokenizer that knows the validation corpus. Changes no result."""
    tensorboard: bool = False
    """Write what `metrics.jsonl` holds into the run's `tensorboard/` too, for `tensorboard --logdir RUN`. Needs
    `pip install tensorboard`."""


class DataSection(Section):
    """The corpora and how they become token ids."""

    source_language: str = Field(min_length=1)
    """Language code of the source side, e.g. `zh`; shown in reports, and `ja`, `zh`, `ko` choose sacreBLEU's tokenizer
    where they are the target."""
    target_language: str = Field(min_length=1)
    """Language code of the target side."""
    train: Corpora = Field(min_length=1)
    """One corpus, or a list of corpora that are concatenated."""
    validation: Corpora = Field(min_length=1)
    """The corpus by which the best checkpoint is chosen. Translated whole; its loss passes over empty lines."""
    test: Corpora = ()
    """The corpus that `transformer evaluate` scores; training never reads it."""
    guard: Corpora = ()
    """A corpus of what the model could do before, for fine-tuning (`training.start_from`): translated at the start and
    at each validation, so that the run tells what was forgotten. Chooses nothing."""
    licence: str | None = Field(default=None, max_length=1000)
    """Under which terms the corpora came, e.g. `CC BY 2.0 FR`; stands in the run's card. Changes nothing else."""
    prepared_directory: str = Field(default="data/prepared", min_length=1)
    """Where encoded corpora are kept, one folder for each content of corpus and tokenizer options."""
    max_length: Positive = 256
    """Training pairs with more tokens than this on either side are dropped."""
    max_length_ratio: float = Field(default=4.0, ge=1.0)
    """Training pairs whose longer side has more than this times the tokens of the shorter side are dropped, where the
    longer one has at least 10."""
    bucket_window: Positive = 256
    """Sentences are shuffled, cut into windows of about this many batches, sorted by length inside a window and
    batched; larger pads less, smaller mixes more. With `training.subword_sampling` at most 32 batches."""


class TokenizerSection(Section):
    """SentencePiece, trained on the training corpus, or given."""

    model_type: Literal["unigram", "bpe"] = "unigram"
    """Unigram language model (Kudo 2018) or byte-pair encoding (Sennrich et al. 2016)."""
    vocab_size: int = Field(default=8000, gt=260, le=1_000_000)
    """Pieces, the 4 special and 256 byte pieces included; of each side where `shared` is false."""
    shared: bool = True
    """One vocabulary for both languages (needed for three-way tied embeddings), or one each."""
    character_coverage: float = Field(default=1.0, gt=0.9, le=1.0)
    """Share of the corpus' characters that get a piece of their own; rarer ones are spelled in bytes. 0.9995 suits
    Chinese and Japanese."""
    normalization: Literal["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"] = "nmt_nfkc"
    """SentencePiece's normalisation rule; `_cf` folds case, `identity` changes no character."""
    training_sentences: int = Field(default=2_000_000, ge=100, le=1_000_000_000)
    """At most this many sentences, drawn at random, train the tokenizer."""
    source_model: str | None = None
    """An existing SentencePiece model for the source side (both sides where `shared`), in place of training one."""
    target_model: str | None = None
    """An existing SentencePiece model for the target side, where `shared` is false."""

    @model_validator(mode="after")
    def _models_fit(self) -> TokenizerSection:
        if self.shared and self.target_model is not None:
            raise ValueError("target_model is for shared: false; a shared tokenizer is given as source_model")
        if not self.shared and (self.source_model is None) != (self.target_model is None):
            raise ValueError("give both source_model and target_model, or neither")
        return self


class ValidationSection(Section):
    """How often, by what, and how long without progress."""

    every: Positive = 1000
    """Validate every so many updates, and at the end."""
    metric: Literal["bleu", "chrf", "loss"] = "bleu"
    """The metric that chooses the best checkpoint."""
    max_sentences: NonNegative | None = None
    """Translate only the first so many validation sentences; empty means all, 0 means loss alone."""
    patience: Positive | None = None
    """Stop after so many validations in a row without a better metric; empty means never."""

    @model_validator(mode="after")
    def _metric_is_measured(self) -> ValidationSection:
        if self.max_sentences == 0 and self.metric != "loss":
            raise ValueError(f"metric {self.metric} needs translations; max_sentences is 0")
        return self


class Config(Section):
    """A whole run: everything that decides its result."""

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
            raise ValueError(
                f"model.max_positions {rows} is too few for sentences of data.max_length {longest - 1} tokens and an "
                f"end mark; give {longest}"
            )
        if self.validation.every % self.checkpoint_every:
            raise ValueError(
                f"validation.every {self.validation.every} is no multiple of training.checkpoint_every "
                f"{self.checkpoint_every}; the best checkpoint must be one that is saved"
            )
        return self

    @property
    def checkpoint_every(self) -> int:
        """Updates between two regular checkpoints."""
        return self.training.checkpoint_every or self.validation.every
