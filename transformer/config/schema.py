"""Every option of the program, typed, with its meaning: the one place where options exist.

A field's docstring is its documentation: `transformer config schema` writes them into a JSON Schema that editors
show. Lengths are in tokens, intervals in updates (one update is one optimizer step), times in minutes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from transformer.config.corpora import Corpora
from transformer.config.model_section import ModelSection
from transformer.config.section import NonNegative, Positive, Probability, Section

SPLITS = ("train", "validation", "test")

# What a run may change when it goes on; anything else would make it another run.
MAY_CHANGE_ON_RESUME = frozenset(
    {
        "run.directory",
        "run.device",
        "run.threads",
        "run.stall_minutes",
        "run.preflight",
        "training.max_updates",
        "training.max_epochs",
        "training.max_minutes",
        "training.log_every",
        "training.keep_checkpoints",
        "training.max_skipped_updates",
        "training.max_rewinds",
        "training.sharding",
        "data.train",  # wherever the corpora lie: their content is compared instead
        "data.validation",
        "data.test",
        "data.prepared_directory",
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
    prepared_directory: str = Field(default="data/prepared", min_length=1)
    """Where encoded corpora are kept, one folder for each content of corpus and tokenizer options."""
    max_length: Positive = 256
    """Training pairs with more tokens than this on either side are dropped."""
    max_length_ratio: float = Field(default=4.0, ge=1.0)
    """Training pairs whose longer side has more than this times the tokens of the shorter side are dropped, where the
    longer one has at least 10."""
    bucket_window: Positive = 256
    """Sentences are shuffled, cut into windows of about this many batches, sorted by length inside a window and
    batched; larger pads less, smaller mixes more."""


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


class TrainingSection(Section):
    """The optimisation; the defaults are the paper's (section 5)."""

    max_updates: Positive = 100_000
    """Stop after this many updates."""
    max_epochs: Positive | None = None
    """Stop after this many passes over the corpus."""
    max_minutes: float | None = Field(default=None, gt=0)
    """Stop after this much training time, resumed parts included."""
    batch_tokens: Positive = 4096
    """An update takes about this many target tokens, end marks counted, padding not."""
    micro_batch_tokens: Positive | Literal["auto"] | None = None
    """Upper bound on the padded tokens of one forward and backward on either side; an update is split into as many
    micro-batches as that needs, without changing its gradient. Empty: never split. `auto`: as many as fit into a GPU's
    memory, found by trying the worst batch before the first update; elsewhere never split."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """Adam (Kingma and Ba 2015), or AdamW with decoupled weight decay (Loshchilov and Hutter 2019)."""
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    """Adam's decay rates."""
    epsilon: float = Field(default=1e-9, gt=0)
    """Adam's epsilon."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decay of weight matrices; norms and biases are spared. Needs `optimizer: adamw`."""
    schedule: Literal["noam", "inverse_sqrt", "linear", "cosine", "constant"] = "noam"
    """The learning rate over the updates, after a linear warm-up: `noam` is the paper's formula (equation 3); `linear`
    and `cosine` fall to zero at max_updates."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate; under `noam` the factor before the formula, where empty means the paper's 1.0."""
    warmup_updates: NonNegative = 4000
    """Updates until the peak."""
    label_smoothing: Probability = 0.1
    """ε of label smoothing, ε/V on each class (section 5.4)."""
    max_gradient_norm: float | None = Field(default=None, gt=0)
    """Gradients are scaled down to this norm; empty means never."""
    max_skipped_updates: Positive = 10
    """An update whose gradients are not finite is computed again, and left out where they still are not. After so many
    in a row the run goes back to its newest checkpoint, with half the learning rate."""
    max_rewinds: NonNegative = 3
    """After going back so often the run stops."""
    start_from: str | None = Field(default=None, min_length=1)
    """A run or a checkpoint whose weights a new run starts from; its optimizer, schedule and place in the data begin
    anew. Its tokenizer must be this run's: name it as tokenizer.source_model."""
    sharding: Literal["none", "full"] = "none"
    """With several processes: each holds the whole model (DDP), or its part of it (FSDP2), where the whole is too
    large."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 autocast over fp32 weights, or fp32 throughout; `auto` takes bf16 where the processor multiplies in it."""
    log_every: Positive = 50
    """A line of metrics every so many updates."""
    checkpoint_every: Positive | None = None
    """A checkpoint every so many updates; empty means at each validation."""
    keep_checkpoints: Positive = 5
    """How many regular checkpoints stay on disk, beside the best."""
    average_checkpoints: NonNegative = 5
    """At the end the last so many checkpoints are averaged and, where the validation metric prefers the average, it
    becomes the best (section 6.1). 0 or 1: no averaging."""

    @property
    def known_micro_batch_tokens(self) -> int | None:
        """`micro_batch_tokens`, None where it is still to be found."""
        return None if self.micro_batch_tokens == "auto" else self.micro_batch_tokens

    @model_validator(mode="after")
    def _consistent(self) -> TrainingSection:
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(f"weight_decay {self.weight_decay} needs optimizer: adamw")
        if self.average_checkpoints > self.keep_checkpoints:
            raise ValueError(
                f"average_checkpoints {self.average_checkpoints} is more than keep_checkpoints {self.keep_checkpoints}"
            )
        if self.schedule != "noam" and self.learning_rate is None:
            raise ValueError(f"schedule {self.schedule} needs learning_rate, its peak, e.g. 1.0e-3")
        if self.schedule == "noam" and self.warmup_updates == 0:
            raise ValueError("schedule noam needs warmup_updates of at least 1")
        if self.schedule in {"linear", "cosine"} and self.warmup_updates >= self.max_updates:
            raise ValueError(f"warmup_updates {self.warmup_updates} leaves nothing of max_updates {self.max_updates}")
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


class DecodingSection(Section):
    """Beam search; the defaults are the paper's (section 6.1)."""

    checkpoint: str = Field(default="best", pattern=r"^(best|last|averaged|\d{1,10})$", coerce_numbers_to_str=True)
    """Which weights: `best`, `last`, `averaged`, or an update's number."""
    beam_size: int = Field(default=4, gt=0, le=1000)
    """Hypotheses kept a step; 1 is greedy search. Attention among beams takes memory with its square: past 50 lower
    batch_size."""
    gnmt_length_penalty: float = Field(default=0.6, ge=0, le=10)
    """α of ((5+L)/6)^α (Wu et al. 2016), by which a hypothesis' log-probability is divided; 0 means not at all."""
    precision: Literal["auto", "fp32", "bf16", "int8"] = "fp32"
    """Of weights and products when a trained run translates; validation while training is always in fp32. `auto` takes
    bf16 where the processor multiplies in it; `int8` rounds to 8 bits, on CPUs only. What each costs in BLEU:
    docs/performance.md."""
    masked_heads: tuple[Annotated[str, Field(pattern=r"^(encoder|decoder|cross)\.\d{1,4}\.\d{1,4}$")], ...] = ()
    """Attention heads that add nothing, for ablation (Michel et al. 2019): `cross.2.1` is head 1 of layer 2 of the
    cross-attention, both from 0."""
    shortlist: bool = False
    """Let a sentence be translated only by pieces of its lexical shortlist, which `transformer shortlist RUN` learns
    once: faster, for a little quality."""
    patience: float | None = Field(default=None, ge=0.1, le=1000)
    """A sentence is done when patience × beam_size hypotheses are finished (Kasai et al. 2022); 1.0 is what most
    toolkits do, about 1.4 times as fast at beam 5. Empty: when no other hypothesis can win by the model's score."""
    max_length_ratio: float = Field(default=1.0, ge=0, le=100)
    """A translation has at most max_length_ratio × source tokens + max_length_extra tokens."""
    max_length_extra: int = Field(default=50, ge=0, le=100_000)
    """See max_length_ratio."""
    max_source_length: int = Field(default=1024, gt=0, le=100_000)
    """A source sentence of more tokens is cut there, with a warning: memory grows with the square of the length."""
    n_best: Positive = 1
    """How many hypotheses a sentence to return; at most beam_size."""
    batch_size: int = Field(default=64, gt=0, le=100_000)
    """The most sentences searched together; changes no translation but under `precision: int8`, which rounds a batch's
    inputs together."""
    batch_tokens: Positive = 8192
    """The most source tokens searched together, padding included: long sentences make smaller batches."""
    workers: int | None = Field(default=None, gt=0, le=256)
    """Processes of one thread that search batches side by side, on CPUs under Linux. Empty: as many as threads where
    `translate` and `evaluate` run, 1 in Python and for validation while training."""

    @model_validator(mode="after")
    def _n_best_fits(self) -> DecodingSection:
        if self.n_best > self.beam_size:
            raise ValueError(f"n_best {self.n_best} is more than beam_size {self.beam_size}")
        if self.max_length_ratio == 0 and self.max_length_extra == 0:
            raise ValueError("max_length_ratio and max_length_extra are both 0; no token could be written")
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
        longest, rows = self.data.max_length + 1, self.model.max_positions  # with the end mark
        if self.model.positions == "learned" and longest > rows:
            raise ValueError(
                f"model.max_positions {rows} is too few for sentences of data.max_length {longest - 1} tokens and an "
                f"end mark; give {longest}"
            )
        every, checkpoint_every = self.validation.every, self.training.checkpoint_every
        if checkpoint_every is not None and every % checkpoint_every:
            raise ValueError(
                f"validation.every {every} is no multiple of training.checkpoint_every {checkpoint_every}; "
                "the best checkpoint must be one that is saved"
            )
        return self
