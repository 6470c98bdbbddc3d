"""Options of translating."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from transformer.config.section import Positive, Section

# What has no effect but with a certain value of another option, and is refused without it.
_ONLY_WITH = {
    **dict.fromkeys(
        (
            *("patience", "length_penalty", "coverage_penalty", "min_length", "no_repeat_ngram_size"),
            *("repetition_guard", "diverse_groups", "diversity_strength", "line_fields", "term_bonus", "token_scores"),
        ),
        ("method", "beam"),
    ),
    **dict.fromkeys(("temperature", "top_k", "top_p", "epsilon", "seed"), ("method", "sample")),
    "mbr_utility": ("rerank", "mbr"),
    **dict.fromkeys(("reverse", "channel_weight", "length_weight"), ("rerank", "noisy_channel")),
}
_SAMPLES = 32
LengthPenalty = Literal["gnmt", "average", "none"]
LineFields = Literal["sentence", "terms", "prefix", "prefix_terms"]
RunPath = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]


class DecodingSection(Section):
    """How translations are found; the defaults are the paper's beam search (section 6.1)."""

    checkpoint: str = Field(default="best", pattern=r"^(best|last|averaged|\d{1,10})$", coerce_numbers_to_str=True)
    """Which weights: `best`, `last`, `averaged`, or an update's number."""
    beam_size: int = Field(default=4, gt=0, le=1000)
    """Hypotheses that beam search keeps a step; 1 is greedy search. Attention among beams takes memory with its square:
    past 50 lower batch_size."""
    method: Literal["beam", "sample"] = "beam"
    """`beam` searches the most probable translation; `sample` draws translations by the model's probabilities, n_best a
    sentence, which then are listed best first. docs/guide/sampling.md says when each is worth it. Validation while
    training is by beam."""
    temperature: float = Field(default=1.0, ge=0.01, le=100)
    """Log-probabilities are divided by it before a token is drawn: below 1 samples are likelier, above 1 more varied.
    The rules that follow see the probabilities after it; a token is drawn among those that all given rules keep."""
    top_k: Positive | None = None
    """Draw among the k most probable tokens (Fan et al. 2018)."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Draw from the nucleus: the fewest tokens whose probabilities sum to p (Holtzman et al. 2020)."""
    epsilon: float | None = Field(default=None, gt=0, lt=1)
    """Draw among the tokens of at least this probability (Hewitt et al. 2022), and the most probable one; 0.02 suits
    minimum Bayes risk (Freitag et al. 2023)."""
    seed: int = Field(default=1, ge=0, lt=2**32)
    """Of sampling. A sentence's samples depend on it and on the sentence alone, not on where it stands, what is
    searched beside it, or the number of workers; the same sentence has the same samples."""
    gnmt_length_penalty: float = Field(default=0.6, ge=0, le=10)
    """α of ((5+L)/6)^α (Wu et al. 2016), by which a hypothesis' log-probability is divided; 0 means not at all."""
    length_penalty: LengthPenalty = "gnmt"
    """What a hypothesis' log-probability is divided by: `gnmt` with the α above, `average` its length, `none` nothing,
    which prefers short ones. All search options and what they do to BLEU: docs/guide/decoding.md."""
    ensemble: tuple[RunPath, ...] = Field(default=(), max_length=16)
    """Runs (their best checkpoints), or checkpoint directories, that translate together with the run itself: by the
    mean of the models' probabilities, token by token. They need the run's tokenizer. Validation while training does
    without them. docs/guide/sampling.md has what it brings."""
    rerank: Literal["none", "mbr", "noisy_channel"] = "none"
    """Who chooses among a sentence's candidates: `none`, the search's own score; `mbr`, minimum Bayes risk (Kumar and
    Byrne 2004, Eikema and Aziz 2020), the one most like the others; `noisy_channel` (Yee et al. 2019, Ng et al. 2019),
    which asks the model of the other direction too. Validation while training does without. docs/guide/sampling.md."""
    candidates: int | None = Field(default=None, gt=1, le=1000)
    """Hypotheses or samples to choose among. Empty: beam_size, or 32 samples. mbr takes time with its square."""
    mbr_utility: Literal["chrf", "bleu"] = "chrf"
    """How alike two candidates are: chrF2 or sentence BLEU, sacreBLEU's. Samples count alike; the hypotheses of a beam
    by their probability."""
    reverse: RunPath | None = None
    """For noisy_channel: a run (its best checkpoint) or checkpoint directory from the target to the source language."""
    channel_weight: float = Field(default=1.0, ge=0, le=1000)
    """For noisy_channel, whose score is log p(y|x) + channel_weight · log p(x|y) + length_weight · tokens of y.
    `transformer tune RUN` finds both."""
    length_weight: float = Field(default=0.0, ge=-1000, le=1000)
    """See channel_weight; the end mark is a token too. It takes the place of gnmt_length_penalty."""
    precision: Literal["auto", "fp32", "bf16", "int8"] = "fp32"
    """Of weights and products when a trained run translates; validation while training is always in fp32. `auto` takes
    bf16 where the processor multiplies in it; `int8` rounds to 8 bits, on CPUs only, and weights to 7 where the
    processor has no 8-bit dot products (VNNI), without which sums would overflow. What each costs in BLEU:
    docs/measured/performance.md."""
    masked_heads: tuple[Annotated[str, Field(pattern=r"^(encoder|decoder|cross)\.\d{1,4}\.\d{1,4}$")], ...] = ()
    """Attention heads that add nothing, for ablation (Michel et al. 2019): `cross.2.1` is head 1 of layer 2 of the
    cross-attention, both from 0."""
    shortlist: bool = False
    """Let a sentence be translated only by pieces of its lexical shortlist, which `transformer shortlist RUN` learns
    once: faster, for a little quality."""
    patience: float | None = Field(default=None, ge=0.1, le=1000)
    """A sentence is done when patience × beam_size hypotheses are finished (Kasai et al. 2022); 1.0 is what most
    toolkits do, 1.4 to 1.6 times as fast at beam 5. Empty: when no other hypothesis can win by the model's score."""
    max_length_ratio: float = Field(default=1.0, ge=0, le=100)
    """A translation has at most max_length_ratio × source tokens + max_length_extra tokens."""
    max_length_extra: int = Field(default=50, ge=0, le=100_000)
    """See max_length_ratio."""
    coverage_penalty: float = Field(default=0.0, ge=0, le=10)
    """β of Wu et al. 2016, equation 14: a hypothesis ranks lower the less attention parts of its source ever got, to
    leave out less; 0: not at all."""
    min_length: int = Field(default=0, ge=0, le=100_000)
    """A translation has at least so many tokens."""
    no_repeat_ngram_size: int = Field(default=0, ge=0, le=1000)
    """No n-gram of so many tokens stands twice in a translation; 0: any may. For models that repeat themselves; what
    must be repeated cannot be written then."""
    repetition_guard: int = Field(default=0, ge=0, le=1000)
    """A translation that ran away (up to 8 tokens four times in a row at its end, or as long as it may be) is searched
    again with a no_repeat_ngram_size of this, with a warning; 0: it stays."""
    diverse_groups: int = Field(default=1, gt=0, le=1000)
    """Diverse beam search (Vijayakumar et al. 2018): the beam is divided into so many groups, each kept away from the
    words of those before it. For n-best lists that differ; must divide beam_size."""
    diversity_strength: float = Field(default=0.5, ge=0, le=1000)
    """What a group pays for a token that a hypothesis of an earlier group chose at the same step, in nats."""
    line_fields: LineFields = "sentence"
    """What the tabs of an input line separate: nothing, the whole line is the `sentence`; `terms`: the sentence and
    terms that its translation contains, case included; `prefix`: the sentence and what its translation begins with;
    `prefix_terms`: sentence, prefix (or nothing) and terms."""
    term_bonus: float | None = Field(default=None, ge=0, le=1000)
    """Empty: every translation contains its terms (Post and Vilar 2018), at the cost of a wider beam. A number, such as
    1.0: terms are only preferred, by so many nats for each of their tokens."""
    max_source_length: int = Field(default=1024, gt=0, le=100_000)
    """A source sentence of more tokens is cut there, with a warning: memory grows with the square of the length."""
    n_best: int = Field(default=1, gt=0, le=1000)
    """How many translations a sentence to return; at most beam_size under beam search."""
    confidence: bool = False
    """`translate` prints before each translation how good it probably is, 0 to 100 (the sentence chrF2++ to expect),
    and a tab; `evaluate` says how far that can be believed. `transformer calibrate RUN` learns it once."""
    token_scores: bool = False
    """`translate` prints number, rank, score and text as for n_best, then the pieces and the log-probability of each,
    the end mark's last."""
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
        if self.method == "beam" and self.n_best > self.beam_size:
            raise ValueError(f"n_best {self.n_best} is more than beam_size {self.beam_size}")
        if self.max_length_ratio == 0 and self.max_length_extra == 0:
            raise ValueError("max_length_ratio and max_length_extra are both 0; no token could be written")
        if self.beam_size % self.diverse_groups:
            raise ValueError(f"diverse_groups {self.diverse_groups} does not divide beam_size {self.beam_size}")
        if self.shortlist and self.line_fields != "sentence":
            raise ValueError(f"shortlist lacks what line_fields={self.line_fields} may ask for; set shortlist=false")
        if self.requires_terms and self.diverse_groups > 1:
            raise ValueError("diverse_groups and required terms do not go together; set term_bonus or diverse_groups=1")
        return self

    @property
    def requires_terms(self) -> bool:
        """Whether input lines bring terms that must come."""
        return self.term_bonus is None and self.line_fields in ("terms", "prefix_terms")

    @model_validator(mode="after")
    def _each_has_an_effect(self) -> DecodingSection:
        for name, (other, value) in _ONLY_WITH.items():
            if getattr(self, name) != type(self).model_fields[name].default and getattr(self, other) != value:
                default = type(self).model_fields[name].default
                back = "null" if default is None else str(default).lower()
                raise ValueError(
                    f"{name} is for {other}: {value}, and {other} is {getattr(self, other)}; set {name} back to {back}"
                )
        if self.ensemble and self.masked_heads:
            raise ValueError("masked_heads names heads of a single model; leave out either it or ensemble")
        if self.ensemble and self.coverage_penalty:
            raise ValueError("coverage_penalty looks at a single model's attention; leave out either it or ensemble")
        return self

    @model_validator(mode="after")
    def _candidates_fit(self) -> DecodingSection:
        if self.rerank == "none":
            if self.candidates is not None:
                raise ValueError("candidates are for rerank: mbr or noisy_channel, and rerank is none")
            return self
        if self.rerank == "noisy_channel" and self.reverse is None:
            raise ValueError("rerank noisy_channel needs reverse, a run in the other direction")
        if self.method == "beam" and self.num_candidates > self.beam_size:
            raise ValueError(f"candidates {self.candidates} are more than beam_size {self.beam_size}")
        if not 1 < self.num_candidates >= self.n_best:
            raise ValueError(f"rerank {self.rerank} has {self.num_candidates} candidates; give 2 at least, and n_best")
        return self

    @property
    def num_candidates(self) -> int:
        """How many translations of a sentence are searched."""
        if self.rerank == "none":
            return self.n_best
        return self.candidates or (self.beam_size if self.method == "beam" else _SAMPLES)


def without_effect(precision: str) -> set[str]:
    """Decoding options that change no translation; int8 rounds a batch together, so that batches change its."""
    return {"workers"} if precision == "int8" else {"workers", "batch_size", "batch_tokens"}
