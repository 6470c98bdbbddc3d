"""Decoding options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from transformer.config.section import Positive, Section

# Options that only work with a certain value of another option, and are refused without it.
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
    """How to search for translations; the defaults are the paper's beam search (section 6.1)."""

    checkpoint: str = Field(default="best", pattern=r"^(best|last|averaged|\d{1,10})$", coerce_numbers_to_str=True)
    """Weights to translate with: `best`, `last`, `averaged`, or the number of an update."""
    beam_size: int = Field(default=4, gt=0, le=1000)
    """Hypotheses kept at each step of beam search; 1 is greedy search. Memory grows with its square: above 50, lower
    batch_size."""
    method: Literal["beam", "sample"] = "beam"
    """`beam` searches for the most probable translation; `sample` draws n_best translations from the model's
    distribution and lists the best first. docs/guide/sampling.md says when to use which. Validation during training
    always uses beam search."""
    temperature: float = Field(default=1.0, ge=0.01, le=100)
    """Divides the logits before sampling: below 1 favours likely tokens, above 1 gives more variety. top_k, top_p and
    epsilon apply afterwards; a token must pass all that are set."""
    top_k: Positive | None = None
    """Sample among the k most probable tokens (Fan et al. 2018)."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Sample from the nucleus: the fewest tokens whose probabilities sum to p (Holtzman et al. 2020)."""
    epsilon: float | None = Field(default=None, gt=0, lt=1)
    """Sample among tokens of at least this probability (Hewitt et al. 2022); the most probable token always stays. 0.02
    suits minimum Bayes risk (Freitag et al. 2023)."""
    seed: int = Field(default=1, ge=0, lt=2**32)
    """Seed for sampling. A sentence's samples depend only on the seed and the sentence, not on its position, its batch
    or the number of workers; equal sentences get equal samples."""
    gnmt_length_penalty: float = Field(default=0.6, ge=0, le=10)
    """α of ((5+L)/6)^α (Wu et al. 2016), which divides a hypothesis's log-probability; 0 turns it off."""
    length_penalty: LengthPenalty = "gnmt"
    """What divides a hypothesis's log-probability: `gnmt`, the formula with the α above; `average`, its length; `none`,
    nothing, which favours short translations. docs/guide/decoding.md compares all search options in BLEU."""
    ensemble: tuple[RunPath, ...] = Field(default=(), max_length=16)
    """Runs (their best checkpoints) or checkpoint directories that translate together with this run, averaging the
    models' probabilities token by token. They must share the run's tokenizer. Validation during training ignores them.
    docs/guide/sampling.md has the gains."""
    rerank: Literal["none", "mbr", "noisy_channel"] = "none"
    """How to choose among a sentence's candidates: `none`, by the search's own score; `mbr`, minimum Bayes risk (Kumar
    and Byrne 2004, Eikema and Aziz 2020), the candidate most like the others; `noisy_channel` (Yee et al. 2019, Ng et
    al. 2019), which also scores with a model of the reverse direction. Validation during training does not rerank.
    docs/guide/sampling.md."""
    candidates: int | None = Field(default=None, gt=1, le=1000)
    """Hypotheses or samples to choose among. Empty: beam_size hypotheses, or 32 samples. The time of mbr grows with its
    square."""
    mbr_utility: Literal["chrf", "bleu"] = "chrf"
    """Similarity of two candidates: sacreBLEU's chrF2 or sentence BLEU. Samples weigh the same; beam hypotheses weigh
    by their probability."""
    reverse: RunPath | None = None
    """For noisy_channel: a run (its best checkpoint) or checkpoint directory that translates from target to source
    language."""
    channel_weight: float = Field(default=1.0, ge=0, le=1000)
    """For noisy_channel, whose score is log p(y|x) + channel_weight · log p(x|y) + length_weight · tokens of y.
    `transformer tune RUN` finds both weights."""
    length_weight: float = Field(default=0.0, ge=-1000, le=1000)
    """See channel_weight; the end mark counts as a token. Replaces gnmt_length_penalty."""
    precision: Literal["auto", "fp32", "bf16", "int8"] = "fp32"
    """Precision of weights and matrix products when a trained run translates; validation during training always uses
    fp32. `auto` picks bf16 on processors that multiply in it. `int8` (CPU only) rounds weights to 8 bits, or to 7 on
    processors without 8-bit dot products (VNNI), where sums would overflow. docs/measured/performance.md has the cost
    in BLEU."""
    masked_heads: tuple[Annotated[str, Field(pattern=r"^(encoder|decoder|cross)\.\d{1,4}\.\d{1,4}$")], ...] = ()
    """Attention heads to switch off, for ablation (Michel et al. 2019): `cross.2.1` is head 1 of layer 2 of the
    cross-attention, both counted from 0."""
    shortlist: bool = False
    """Restrict each sentence's translation to the pieces of its lexical shortlist: faster, at a small loss of quality.
    Run `transformer shortlist RUN` once first."""
    patience: float | None = Field(default=None, ge=0.1, le=1000)
    """Stop a sentence after patience × beam_size finished hypotheses (Kasai et al. 2022). 1.0 is what most toolkits do,
    and 1.4 to 1.6 times as fast at beam 5. Empty: stop when no unfinished hypothesis can still win."""
    max_length_ratio: float = Field(default=1.0, ge=0, le=100)
    """A translation has at most max_length_ratio × source tokens + max_length_extra tokens."""
    max_length_extra: int = Field(default=50, ge=0, le=100_000)
    """See max_length_ratio."""
    coverage_penalty: float = Field(default=0.0, ge=0, le=10)
    """β of Wu et al. 2016, equation 14: hypotheses that pay little attention to parts of the source rank lower, so less
    is left out. 0: off."""
    min_length: int = Field(default=0, ge=0, le=100_000)
    """Fewest tokens of a translation."""
    no_repeat_ngram_size: int = Field(default=0, ge=0, le=1000)
    """No n-gram of this length occurs twice in a translation; 0: off. For models that repeat themselves; legitimate
    repetitions are blocked too."""
    repetition_guard: int = Field(default=0, ge=0, le=1000)
    """Search again, with this no_repeat_ngram_size and a warning, when a translation runs away: it ends in up to 8
    tokens four times in a row, or hits the length limit. 0: off."""
    diverse_groups: int = Field(default=1, gt=0, le=1000)
    """Diverse beam search (Vijayakumar et al. 2018): split the beam into this many groups, each penalised for tokens
    that earlier groups chose. Gives n-best lists that differ more; must divide beam_size."""
    diversity_strength: float = Field(default=0.5, ge=0, le=1000)
    """Penalty, in nats, for a token that an earlier group chose at the same step."""
    line_fields: LineFields = "sentence"
    """What the tab-separated fields of an input line hold: `sentence`, the whole line is the sentence; `terms`, the
    sentence and terms that its translation must contain, case included; `prefix`, the sentence and the beginning of its
    translation; `prefix_terms`, sentence, prefix (may be empty) and terms."""
    term_bonus: float | None = Field(default=None, ge=0, le=1000)
    """Empty: every translation contains its terms (Post and Vilar 2018), at the cost of a wider beam. A number, such as
    1.0: terms are only preferred, by this many nats per token."""
    max_source_length: int = Field(default=1024, gt=0, le=100_000)
    """Cut longer source sentences to this many tokens, with a warning: memory grows with the square of the length."""
    n_best: int = Field(default=1, gt=0, le=1000)
    """Translations returned per sentence; at most beam_size under beam search."""
    confidence: bool = False
    """`translate` prints each translation's expected quality (sentence chrF2++, 0 to 100) and a tab before it;
    `evaluate` reports how reliable that is. Run `transformer calibrate RUN` once first."""
    token_scores: bool = False
    """`translate` prints number, rank, score and text as for n_best, then each piece and its log-probability, the end
    mark's last."""
    batch_size: int = Field(default=64, gt=0, le=100_000)
    """Most sentences searched together. Changes no translation, except under `precision: int8`, which rounds the inputs
    of a batch together."""
    batch_tokens: Positive = 8192
    """Most source tokens searched together, padding included: long sentences get smaller batches."""
    workers: int | None = Field(default=None, gt=0, le=256)
    """Single-threaded processes that search batches in parallel, on CPUs under Linux. Empty: as many as threads for
    `translate` and `evaluate`, 1 in Python and for validation during training."""

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
        """Whether input lines have terms that their translations must contain."""
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
        """Translations to search for per sentence."""
        if self.rerank == "none":
            return self.n_best
        return self.candidates or (self.beam_size if self.method == "beam" else _SAMPLES)


def without_effect(precision: str) -> set[str]:
    """Decoding options that change no translation; under int8, which rounds a batch together, batch sizes do."""
    return {"workers"} if precision == "int8" else {"workers", "batch_size", "batch_tokens"}
