"""How a batch of requests is searched: decoding options and requests become rules, pruning, and a search.

B sentences, S source length, V vocabulary, V' pieces of a shortlist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.config import DecodingSection
from transformer.data.batch import pad_rows
from transformer.data.batching import batch_by_length
from transformer.data.tokenizer import BOS, EOS, PAD, UNK
from transformer.decoding.beam_search import Hypothesis, Pruning, SearchOptions, beam_search, not_numbers
from transformer.decoding.candidates.diverse import DiverseGroups
from transformer.decoding.request import EncodedRequest
from transformer.decoding.rules.coverage import Coverage
from transformer.decoding.rules.min_length import MinLength
from transformer.decoding.rules.no_repeat import NoRepeat
from transformer.decoding.rules.prefix import Prefix
from transformer.decoding.rules.ruled_step import Rule, RuledState, RuledStep, padded
from transformer.decoding.sampling.random_numbers import sentence_key
from transformer.decoding.sampling.sample import SamplingOptions, sample
from transformer.decoding.speed.shortlist import BatchShortlist, Shortlist
from transformer.decoding.step import EnsembleState, EnsembleStep, ModelState, ModelStep, StateT, StepFunction
from transformer.decoding.terms.automaton import Progress
from transformer.decoding.terms.preferred import PreferredTerms
from transformer.decoding.terms.required import RequiredTerms
from transformer.model.transformer import Transformer

_WIDTH_MULTIPLE = 8  # few source widths: oneDNN plans each product of a new size anew
_SAMPLES_TOGETHER = 512  # each sample is a row; more of them take memory and are no faster


def search_options(options: DecodingSection, num_candidates: int) -> SearchOptions:
    """The options of a plain beam search for so many hypotheses per sentence."""
    return SearchOptions(
        beam_size=options.beam_size,
        n_best=num_candidates,
        alpha=options.gnmt_length_penalty,
        bos_id=BOS,
        eos_id=EOS,
        forbidden_ids=(PAD, UNK, BOS),
        patience=options.patience,
        length_penalty=options.length_penalty,
    )


def sampling_options(options: DecodingSection, num_candidates: int) -> SamplingOptions:
    """The options of drawing so many samples per sentence."""
    return SamplingOptions(
        samples=num_candidates,
        alpha=options.gnmt_length_penalty,
        bos_id=BOS,
        eos_id=EOS,
        forbidden_ids=(PAD, UNK, BOS),
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        epsilon=options.epsilon,
    )


@dataclass(frozen=True, eq=False)
class BatchSearch:
    """Searches batches; nothing in it changes, so several threads may call it at once.

    Attributes:
        models: in evaluation mode, of one vocabulary and on one device; several form an ensemble.
        num_candidates: hypotheses or samples wanted per sentence.
        shortlist: the target pieces that each source piece may need; None: all are considered.
    """

    models: Sequence[Transformer]
    options: DecodingSection
    num_candidates: int
    shortlist: Shortlist | None = None

    @property
    def device(self) -> torch.device:
        """Of the models."""
        return self.models[0].device

    def batches(self, requests: Mapping[int, EncodedRequest]) -> list[list[int]]:
        """The keys of the requests that are searched together: of one kind, that is with as many required terms and
        the same `no_repeat`, and of similar length."""
        of_kind: dict[tuple[int, int], list[int]] = {}
        for key, request in requests.items():
            num_terms = len(request.required.terms) if request.required else 0
            of_kind.setdefault((num_terms, request.no_repeat), []).append(key)
        return [
            [keys[position] for position in batch]
            for (num_terms, _), keys in of_kind.items()
            for batch in self.by_length([len(requests[key].source) for key in keys], num_terms + 1)
        ]

    def by_length(self, lengths: list[int], beam_factor: int = 1) -> list[list[int]]:
        """Batches of sequences of similar length in tokens, given by position; their beams are `beam_factor` times as
        wide as `decoding.beam_size`."""
        size = max(1, self.options.batch_size // beam_factor)
        if self.options.method == "sample":
            size = min(size, max(1, _SAMPLES_TOGETHER // self.num_candidates))
        return list(batch_by_length(lengths, size, self.options.batch_tokens))

    @torch.inference_mode()
    def search(self, requests: Sequence[EncodedRequest], max_lengths: Sequence[int]) -> list[list[Hypothesis]]:
        """The candidates of each request of one kind, best first; `max_lengths` as in `beam_search`.

        Raises:
            UserError: the scores are NaN or infinite.
        """
        sources = [request.source for request in requests for _ in range(self.options.diverse_groups)]
        source_ids = self._source_ids(sources)  # (B, S)
        shortlist = None if self.shortlist is None else self.shortlist.of_batch(sources, self.device)
        try:
            found = self._with_models(requests, max_lengths, source_ids, shortlist)
        except RuntimeError as error:  # 8-bit products look for the extremes of their input, which NaN has none of
            if "ChooseQuantizationParams" not in str(error):
                raise
            raise not_numbers() from None
        if shortlist is None:
            return found
        listed = shortlist.ids.tolist()
        return [[replace(h, ids=[listed[place] for place in h.ids]) for h in hypotheses] for hypotheses in found]

    def _source_ids(self, sources: Sequence[Sequence[int]]) -> Tensor:
        """(B, S) with end marks and padding, on the models' device."""
        source_ids = pad_rows(sources, last=EOS)  # (B, S)
        width = -(-source_ids.shape[1] // _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE
        width = min([width, *(model.max_length for model in self.models if model.max_length is not None)])
        return F.pad(source_ids, (0, width - source_ids.shape[1]), value=PAD).to(self.device)

    def _with_models(
        self,
        requests: Sequence[EncodedRequest],
        max_lengths: Sequence[int],
        source_ids: Tensor,
        shortlist: BatchShortlist | None,
    ) -> list[list[Hypothesis]]:
        ids = None if shortlist is None else shortlist.ids
        steps = [ModelStep(model, shortlist) for model in self.models]
        states = [ModelState(model, source_ids, shortlist) for model in self.models]
        if len(self.models) > 1:
            return self._candidates(EnsembleStep(steps), EnsembleState(states), requests, max_lengths, ids)
        step, state = steps[0], states[0]
        if self.options.coverage_penalty:
            coverage = Coverage(step, state, self.options.coverage_penalty)
            return self._beam_search(coverage, coverage, requests, max_lengths, coverage.penalty)
        return self._candidates(step, state, requests, max_lengths, ids)

    def _candidates(
        self,
        step: StepFunction[StateT],
        state: StateT,
        requests: Sequence[EncodedRequest],
        max_lengths: Sequence[int],
        ids: Tensor | None,
    ) -> list[list[Hypothesis]]:
        """By sampling or beam search; `ids` (V') are the tokens behind the positions in a shortlist."""
        if self.options.method == "beam":
            return self._beam_search(step, state, requests, max_lengths)
        keys = [sentence_key(self.options.seed, request.source) for request in requests]
        options = sampling_options(self.options, self.num_candidates)
        return sample(step, state, max_lengths, keys, options, self.device, ids)

    def _beam_search(
        self,
        step: StepFunction[StateT],
        state: StateT,
        requests: Sequence[EncodedRequest],
        max_lengths: Sequence[int],
        end_penalty: Callable[[], Tensor] | None = None,
    ) -> list[list[Hypothesis]]:
        """By beam search; the state has one row per sentence, or per group of a diverse search."""
        groups = self.options.diverse_groups
        rows = [request for request in requests for _ in range(groups)]
        limits = [limit for limit in max_lengths for _ in range(groups)]
        preferred = self._preferred_terms(rows)
        rules = self._rules(rows, preferred)
        options, pruning = self._pruning(requests, limits)
        headroom = None if preferred is None else preferred.headroom
        ruled = RuledStep(step), RuledState(state, rules)
        found = beam_search(*ruled, limits, options, self.device, pruning, headroom, end_penalty)
        if preferred is not None:
            found = [
                [_without_bonus(preferred, request, h) for h in best] for request, best in zip(rows, found, strict=True)
            ]
        return found if groups == 1 else self._merged(found)

    def _rules(self, rows: Sequence[EncodedRequest], preferred: PreferredTerms | None) -> list[Rule]:
        rules = list[Rule]()
        if rows[0].no_repeat:
            exempt = padded([sorted(request.term_tokens) for request in rows], self.device)
            rules.append(NoRepeat(rows[0].no_repeat, exempt))
        if self.options.min_length:
            rules.append(MinLength(self.options.min_length, EOS))
        if preferred is not None:
            rules.append(preferred)
        if any(request.prefix for request in rows):
            rules = [Prefix(padded([request.prefix for request in rows], self.device), rules)]
        return rules

    def _preferred_terms(self, rows: Sequence[EncodedRequest]) -> PreferredTerms | None:
        if self.options.term_bonus is None or not any(request.preferred for request in rows):
            return None
        return PreferredTerms([request.preferred or Progress([]) for request in rows], self.options.term_bonus)

    def _pruning(
        self, requests: Sequence[EncodedRequest], limits: Sequence[int]
    ) -> tuple[SearchOptions, Pruning | None]:
        """The search's options, and its pruning where it is not the plain one."""
        options, groups = search_options(self.options, self.num_candidates), self.options.diverse_groups
        required = [request.required for request in requests if request.required]
        if required:  # all requests of a kind have as many
            # the beam grows with the number of terms, as one of the usual size is too narrow for all banks
            beam = options.beam_size * (1 + len(required[0].terms))
            return replace(options, beam_size=beam), RequiredTerms(required, limits, beam, EOS)
        if groups == 1:
            return options, None
        beam = options.beam_size // groups
        pruning = DiverseGroups(len(requests), groups, self.options.diversity_strength, beam, EOS)
        return replace(options, beam_size=beam, n_best=min(self.num_candidates, beam)), pruning

    def _merged(self, found: list[list[Hypothesis]]) -> list[list[Hypothesis]]:
        """The distinct hypotheses of each sentence's groups, best first."""
        groups, merged = self.options.diverse_groups, []
        for start in range(0, len(found), groups):
            of_groups = [hypothesis for group in found[start : start + groups] for hypothesis in group]
            distinct = {tuple(hypothesis.ids): hypothesis for hypothesis in of_groups}
            ranked = sorted(distinct.values(), key=lambda hypothesis: hypothesis.score, reverse=True)
            merged.append(ranked[: self.num_candidates])
        return merged


def _without_bonus(preferred: PreferredTerms, request: EncodedRequest, hypothesis: Hypothesis) -> Hypothesis:
    """With the model's own log-probabilities; the score keeps the bonus that it was ranked by."""
    bonuses = preferred.bonuses(request.preferred or Progress([]), hypothesis.ids, EOS)
    own = [both - bonus for both, bonus in zip(hypothesis.token_log_probs, bonuses, strict=True)]
    return replace(hypothesis, log_prob=hypothesis.log_prob - sum(bonuses), token_log_probs=own)
