"""Options of the optimisation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from transformer.config.section import NonNegative, Positive, Probability, Section

Sharding = Literal["none", "full"]


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
    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    """Adam (Kingma and Ba 2015); AdamW with decoupled weight decay (Loshchilov and Hutter 2019); or Muon (Jordan et al.
    2024) for the matrices of the layers, with AdamW for embeddings, norms and biases, at the same learning rate.
    Matrices that are stored as one (query, key and value; a gated layer's two halves) are orthogonalised as one."""
    muon_momentum: Probability = 0.95
    """Muon's share of the former gradients."""
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    """Adam's decay rates."""
    epsilon: float = Field(default=1e-9, gt=0)
    """Adam's epsilon."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decay of weight matrices; norms and biases are spared. Needs `optimizer: adamw` or `muon`."""
    schedule: Literal["noam", "inverse_sqrt", "linear", "cosine", "constant", "wsd"] = "noam"
    """The learning rate over the updates, after a linear warm-up: `noam` is the paper's formula (equation 3); `linear`
    and `cosine` fall to zero at max_updates; `wsd` stays at its peak and falls to zero over the last decay_updates, so
    that max_updates may still be raised before."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate; under `noam` the factor before the formula, where empty means the paper's 1.0."""
    warmup_updates: NonNegative = 4000
    """Updates until the peak."""
    decay_updates: NonNegative = 0
    """Updates before max_updates over which `schedule: wsd` falls; a fifth of all is usual."""
    label_smoothing: Probability = 0.1
    """ε of label smoothing, ε/V on each class (section 5.4)."""
    r_drop: float = Field(default=0.0, ge=0, le=1000)
    """α of R-Drop (Wu et al. 2021): each sentence passes twice under different dropout, and the two are to agree.
    Doubles the work of an update. The paper takes 5 for translation; 0: off."""
    subword_sampling: float | None = Field(default=None, gt=0, le=10)
    """Cut the words of the training sentences another way at each pass: the power α of a segmentation's probability by
    which it is drawn among a word's 64 best (Kudo 2018); 0.2 differs much, 1.0 little. Needs `model_type: unigram`.
    Empty: always the best segmentation."""
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
    sharding: Sharding = "none"
    """With several processes: each holds the whole model (DDP), or its part of it (FSDP2), where the whole is too
    large."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 autocast over fp32 weights, or fp32 throughout; `auto` takes bf16 where the processor multiplies in it."""
    compile: bool = False
    """Compile the layers (`torch.compile`) in the first updates, which then take minutes. For GPUs, where it has not
    been measured; on CPUs it was slower. Without a compiler the layers stay as they are, which is said."""
    log_every: Positive = 50
    """A line of metrics every so many updates."""
    checkpoint_every: Positive | None = None
    """A checkpoint every so many updates; empty means at each validation."""
    keep_checkpoints: Positive = 5
    """How many regular checkpoints stay on disk, beside the best."""
    weight_average: Literal["none", "ema", "swa"] = "none"
    """What is validated, saved and translated with, in place of the newest weights: `ema`, a moving average of them
    (ema_decay), or `swa`, the mean of all since swa_from_update (Izmailov et al. 2018). Costs two copies of them."""
    ema_decay: Probability = 0.999
    """The old average's share of the new one at each update: 0.999 looks back about 1,000 updates."""
    swa_from_update: Positive = 1
    """The first update whose weights `weight_average: swa` counts; it wants a learning rate that stays, e.g.
    `schedule: constant`."""
    average_of: Literal["last", "best"] = "last"
    """Whether average_checkpoints means the last ones, or those that validated best, which are then kept."""
    average_checkpoints: NonNegative = 5
    """At the end so many checkpoints (see average_of) are averaged and, where the validation metric prefers the
    average, it becomes the best (section 6.1). 0 or 1: no averaging."""

    @property
    def known_micro_batch_tokens(self) -> int | None:
        """`micro_batch_tokens`, None where it is still to be found."""
        return None if self.micro_batch_tokens == "auto" else self.micro_batch_tokens

    @model_validator(mode="after")
    def _consistent(self) -> TrainingSection:
        if self.weight_decay and self.optimizer == "adam":
            raise ValueError(f"weight_decay {self.weight_decay} needs optimizer: adamw, or muon")
        if self.optimizer == "muon" and self.sharding == "full":
            raise ValueError("optimizer muon needs whole matrices, and sharding: full cuts them; use sharding: none")
        if self.average_of == "best" and self.average_checkpoints < 2:
            raise ValueError(
                f"average_of best needs average_checkpoints of at least 2, and it is {self.average_checkpoints}"
            )
        if self.weight_average == "swa" and self.swa_from_update > self.max_updates:
            raise ValueError(f"swa_from_update {self.swa_from_update} is after max_updates {self.max_updates}")
        if self.average_of == "last" and self.average_checkpoints > self.keep_checkpoints:
            raise ValueError(
                f"average_checkpoints {self.average_checkpoints} is more than keep_checkpoints {self.keep_checkpoints}"
            )
        if self.schedule != "noam" and self.learning_rate is None:
            raise ValueError(f"schedule {self.schedule} needs learning_rate, its peak, e.g. 1.0e-3")
        if self.schedule == "noam" and self.warmup_updates == 0:
            raise ValueError("schedule noam needs warmup_updates of at least 1")
        if self.decay_updates and self.schedule != "wsd":
            raise ValueError(f"decay_updates {self.decay_updates} is for schedule: wsd")
        if self.schedule == "wsd" and not 0 < self.decay_updates <= self.max_updates - self.warmup_updates:
            raise ValueError(
                f"schedule wsd needs decay_updates from 1 to max_updates - warmup_updates "
                f"({self.max_updates - self.warmup_updates}), and it is {self.decay_updates}"
            )
        if self.schedule in {"linear", "cosine"} and self.warmup_updates >= self.max_updates:
            raise ValueError(f"warmup_updates {self.warmup_updates} leaves nothing of max_updates {self.max_updates}")
        return self
