"""Training options."""

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
    """Stop after this much training time, counting earlier parts of a resumed run."""
    batch_tokens: Positive = 4096
    """Target tokens per update, approximately: end marks count, padding does not."""
    micro_batch_tokens: Positive | Literal["auto"] | None = None
    """Most padded tokens on either side of one forward and backward. Larger updates are split into micro-batches; the
    gradient stays the same. Empty: never split. `auto`: as many as fit into GPU memory, found by trying the worst batch
    before the first update; never split on other devices."""
    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    """Adam (Kingma and Ba 2015); AdamW with decoupled weight decay (Loshchilov and Hutter 2019); or Muon (Jordan et al.
    2024) for the layers' matrices, with AdamW for embeddings, norms and biases at the same learning rate. Muon
    orthogonalises matrices that are stored together (query, key and value; a gated layer's halves) as one."""
    muon_momentum: Probability = 0.95
    """Muon's momentum."""
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    """Adam's decay rates."""
    epsilon: float = Field(default=1e-9, gt=0)
    """Adam's epsilon."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decay of weight matrices; norms and biases are exempt. Needs `optimizer: adamw` or `muon`."""
    schedule: Literal["noam", "inverse_sqrt", "linear", "cosine", "constant", "wsd"] = "noam"
    """Learning rate over the updates, after a linear warm-up: `noam` is the paper's formula (equation 3); `linear` and
    `cosine` fall to zero at max_updates; `wsd` stays at its peak and falls to zero over the last decay_updates, so you
    can still raise max_updates before the decay."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate. Under `noam`, the factor before the formula; empty means the paper's 1.0."""
    warmup_updates: NonNegative = 4000
    """Updates until the peak."""
    decay_updates: NonNegative = 0
    """Updates before max_updates over which `schedule: wsd` decays; a fifth of all updates is usual."""
    label_smoothing: Probability = 0.1
    """ε of label smoothing, ε/V on each class (section 5.4)."""
    r_drop: float = Field(default=0.0, ge=0, le=1000)
    """α of R-Drop (Wu et al. 2021): each sentence passes twice under different dropout, and the loss penalises the
    difference. Doubles the work of an update. The paper uses 5 for translation; 0: off."""
    subword_sampling: float | None = Field(default=None, gt=0, le=10)
    """Resegment the training sentences at each pass: α, the power of the segmentation probability when sampling among a
    word's 64 best (Kudo 2018). 0.2 varies a lot, 1.0 little. Needs `model_type: unigram`. Empty: always the best
    segmentation."""
    max_gradient_norm: float | None = Field(default=None, gt=0)
    """Clip the gradient norm to this; empty means never."""
    max_skipped_updates: Positive = 10
    """An update with non-finite gradients is computed again, and skipped if they stay non-finite. After this many skips
    in a row the run returns to its newest checkpoint with half the learning rate."""
    max_rewinds: NonNegative = 3
    """Stop the run after returning to a checkpoint this often."""
    start_from: str | None = Field(default=None, min_length=1)
    """A run or checkpoint whose weights initialise a new run; optimizer, schedule and data order start fresh. Both need
    the same tokenizer: give the other run's as tokenizer.source_model."""
    sharding: Sharding = "none"
    """With several processes: each holds the whole model (`none`, DDP), or a shard of it (`full`, FSDP2) when the whole
    does not fit."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 autocast over fp32 weights, or fp32 throughout; `auto` picks bf16 on processors that multiply in it."""
    compile: bool = False
    """Compile the layers (`torch.compile`) during the first updates, which then take minutes. Meant for GPUs, where it
    is not measured yet; slower on CPUs. Without a compiler, training warns and runs uncompiled."""
    log_every: Positive = 50
    """Updates between two lines of metrics."""
    checkpoint_every: Positive | None = None
    """Updates between two checkpoints; empty means at each validation."""
    keep_checkpoints: Positive = 5
    """Regular checkpoints kept on disk, besides the best."""
    weight_average: Literal["none", "ema", "swa"] = "none"
    """Weights to validate, save and translate with instead of the newest: `ema`, their exponential moving average
    (ema_decay), or `swa`, the mean of all since swa_from_update (Izmailov et al. 2018). Costs the memory of two more
    copies."""
    ema_decay: Probability = 0.999
    """Share of the old average in the new one at each update: 0.999 averages over about 1,000 updates."""
    swa_from_update: Positive = 1
    """First update that `weight_average: swa` counts. Needs a learning rate that does not fall, e.g. `schedule:
    constant`."""
    average_of: Literal["last", "best"] = "last"
    """Average the last average_checkpoints, or the ones that validated best, which are then kept."""
    average_checkpoints: NonNegative = 5
    """Average this many checkpoints (see average_of) at the end; the average becomes the best checkpoint if it
    validates better (section 6.1). 0 or 1: no averaging."""

    @property
    def known_micro_batch_tokens(self) -> int | None:
        """`micro_batch_tokens`, or None if `auto` has yet to find it."""
        return None if self.micro_batch_tokens == "auto" else self.micro_batch_tokens

    @model_validator(mode="after")
    def _consistent(self) -> TrainingSection:
        if self.weight_decay and self.optimizer == "adam":
            raise ValueError(f"weight_decay {self.weight_decay} needs optimizer: adamw, or muon")
        if self.optimizer == "muon" and self.sharding == "full":
            raise ValueError("optimizer muon needs whole matrices, and sharding: full cuts them; use sharding: none")
        if self.average_of == "best" and self.average_checkpoints < 2:
            raise ValueError(f"average_of best needs average_checkpoints of at least 2, not {self.average_checkpoints}")
        if self.weight_average == "swa" and self.swa_from_update > self.max_updates:
            raise ValueError(f"swa_from_update {self.swa_from_update} is after max_updates {self.max_updates}")
        averaged, kept = self.average_checkpoints, self.keep_checkpoints
        if self.average_of == "last" and averaged > kept:
            raise ValueError(f"average_checkpoints {averaged} is more than keep_checkpoints {kept}")
        if self.schedule != "noam" and self.learning_rate is None:
            raise ValueError(f"schedule {self.schedule} needs learning_rate, its peak, e.g. 1.0e-3")
        if self.schedule == "noam" and self.warmup_updates == 0:
            raise ValueError("schedule noam needs warmup_updates of at least 1")
        if self.decay_updates and self.schedule != "wsd":
            raise ValueError(f"decay_updates {self.decay_updates} is for schedule: wsd")
        decay, most = self.decay_updates, self.max_updates - self.warmup_updates
        if self.schedule == "wsd" and not 0 < decay <= most:
            raise ValueError(f"schedule wsd needs decay_updates from 1 to {most} (after the warm-up), not {decay}")
        if self.schedule in {"linear", "cosine"} and self.warmup_updates >= self.max_updates:
            raise ValueError(f"warmup_updates {self.warmup_updates} leaves nothing of max_updates {self.max_updates}")
        return self
