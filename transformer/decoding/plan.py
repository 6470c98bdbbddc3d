"""How a batch is searched: the options, and what its jobs ask for, put together into a search's parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from transformer.config import DecodingSection
from transformer.data.tokenizer import BOS, EOS, PAD, UNK
from transformer.decoding.beam_search import Hypothesis, SearchOptions, beam_search
from transformer.decoding.candidates.diverse import DiverseGroups
from transformer.decoding.coverage import Coverage
from transformer.decoding.request import Job
from transformer.decoding.rules import MinLength, NoRepeat, Prefix, Rule, RuledState, RuledStep, padded
from transformer.decoding.sampling.random_numbers import sentence_key
from transformer.decoding.sampling.sample import SamplingOptions, sample
from transformer.decoding.selection import Selection
from transformer.decoding.step import ModelState, ModelStep, State, StepFunction
from transformer.decoding.terms.automaton import Progress
from transformer.decoding.terms.preferred import TermBonus
from transformer.decoding.terms.required import RequiredTerms


def search_options(options: DecodingSection, searched: int) -> SearchOptions:
    """The options of a plain search for so many hypotheses of a sentence."""
    return SearchOptions(
        beam_size=options.beam_size,
        n_best=searched,
        alpha=options.gnmt_length_penalty,
        bos_id=BOS,
        eos_id=EOS,
        forbidden_ids=(PAD, UNK, BOS),
        patience=options.patience,
        length_penalty=options.length_penalty,
    )


def sampling_options(options: DecodingSection, searched: int) -> SamplingOptions:
    """The options of so many samples of a sentence."""
    return SamplingOptions(
        samples=searched,
        alpha=options.gnmt_length_penalty,
        bos_id=BOS,
        eos_id=EOS,
        forbidden_ids=(PAD, UNK, BOS),
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        epsilon=options.epsilon,
    )


@dataclass(frozen=True)
class Kind:
    """What jobs that are searched together have in common.

    Attributes:
        num_terms: that are required.
        no_repeat: see `Job`.
    """

    num_terms: int
    no_repeat: int


def kind_of(job: Job) -> Kind:
    """Jobs of one kind may share a batch."""
    return Kind(len(job.required.terms) if job.required else 0, job.no_repeat)


class Plan:
    """A batch's search.

    Args:
        options: of decoding.
        jobs: of one kind.
        searched: how many hypotheses or samples of each are wanted.
        device: where the step function wants its tokens.
        ids: (V) what the places in the log-probabilities mean, where they mean it in this batch alone.
    """

    def __init__(
        self,
        options: DecodingSection,
        jobs: Sequence[Job],
        searched: int,
        device: torch.device,
        ids: Tensor | None = None,
    ) -> None:
        self.options = options
        self.jobs = jobs
        self.searched = searched
        self.device = device
        self.ids = ids
        self.search_options = search_options(options, searched)
        self.copies = options.diverse_groups
        self.bonus = self._bonus()

    def search(self, step: StepFunction, state: State, limits: Sequence[int]) -> list[list[Hypothesis]]:
        """The hypotheses of each sentence, best first.

        Args:
            step, state: the model; a row for each sentence, or for each group of a diverse search, one after another.
            limits: see `beam_search`.
        """
        if self.options.method == "sample":
            keys = [sentence_key(self.options.seed, job.source) for job in self.jobs]
            return sample(
                step, state, limits, keys, sampling_options(self.options, self.searched), self.device, self.ids
            )
        if not self.options.coverage_penalty:
            return self._search(step, state, limits)
        assert isinstance(step, ModelStep)  # whose attention is looked at; the config refuses ensembles
        assert isinstance(state, ModelState)
        coverage = Coverage(step, state, self.options.coverage_penalty)
        return self._search(coverage, coverage, limits, coverage.penalty)

    def _search(
        self,
        step: StepFunction,
        state: State,
        limits: Sequence[int],
        at_end: Callable[[], torch.Tensor] | None = None,
    ) -> list[list[Hypothesis]]:
        limits = [limit for limit in limits for _ in range(self.copies)]
        rules = self._rules()
        if rules:
            step, state = RuledStep(step), RuledState(state, rules)
        options, selection = self._selection(limits)
        headroom = None if self.bonus is None else self.bonus.headroom
        found = beam_search(step, state, limits, options, self.device, selection, headroom, at_end)
        if self.bonus is not None:
            found = [[self._without_bonus(job, h) for h in best] for job, best in zip(self._rows(), found, strict=True)]
        return found if self.copies == 1 else self._together(found)

    def _rows(self) -> list[Job]:
        """The job of each of the state's rows."""
        return [job for job in self.jobs for _ in range(self.copies)]

    def _rules(self) -> list[Rule]:
        jobs, rules = self._rows(), list[Rule]()
        if jobs[0].no_repeat:
            spared = padded([sorted(job.term_tokens) for job in jobs], self.device)
            rules.append(NoRepeat(jobs[0].no_repeat, spared))
        if self.options.min_length:
            rules.append(MinLength(self.options.min_length, EOS))
        if self.bonus is not None:
            rules.append(self.bonus)
        if any(job.prefix for job in jobs):
            rules = [Prefix(padded([job.prefix for job in jobs], self.device), rules)]
        return rules

    def _bonus(self) -> TermBonus | None:
        if self.options.term_bonus is None or not any(job.preferred for job in self.jobs):
            return None
        return TermBonus([job.preferred or Progress([]) for job in self._rows()], self.options.term_bonus)

    def _selection(self, limits: Sequence[int]) -> tuple[SearchOptions, Selection | None]:
        options, groups = self.search_options, self.options.diverse_groups
        required = [job.required for job in self.jobs if job.required]  # of all jobs or of none: they are of one kind
        if required:
            # as many for each number of terms that a hypothesis may have: a beam shared by all of them is too narrow
            beam = options.beam_size * (1 + len(required[0].terms))
            return replace(options, beam_size=beam), RequiredTerms(required, limits, beam, EOS)
        if groups == 1:
            return options, None
        beam = options.beam_size // groups
        selection = DiverseGroups(len(self.jobs), groups, self.options.diversity_strength, beam, EOS)
        return replace(options, beam_size=beam, n_best=min(self.searched, beam)), selection

    def _without_bonus(self, job: Job, hypothesis: Hypothesis) -> Hypothesis:
        """With the model's own log-probabilities again; the score keeps the bonus that it was ranked by."""
        assert self.bonus is not None
        given = self.bonus.given(job.preferred or Progress([]), hypothesis.ids, EOS)
        own = [both - bonus for both, bonus in zip(hypothesis.token_log_probs, given, strict=True)]
        return replace(hypothesis, log_prob=hypothesis.log_prob - sum(given), token_log_probs=own)

    def _together(self, found: list[list[Hypothesis]]) -> list[list[Hypothesis]]:
        """The distinct hypotheses of each sentence's groups, best first."""
        together = []
        for start in range(0, len(found), self.copies):
            of_groups = [hypothesis for group in found[start : start + self.copies] for hypothesis in group]
            distinct = {tuple(hypothesis.ids): hypothesis for hypothesis in of_groups}
            ranked = sorted(distinct.values(), key=lambda hypothesis: hypothesis.score, reverse=True)
            together.append(ranked[: self.searched])
        return together
