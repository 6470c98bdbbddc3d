"""Sentences in, sentences out: tokenizer, search and detokenizer as one object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch.nn import functional as F

from transformer.config import DecodingSection
from transformer.data.batch import pad_rows
from transformer.data.batching import batch_by_length
from transformer.data.tokenizer import EOS, PAD, Tokenizer
from transformer.decoding.beam_search import Hypothesis, not_numbers
from transformer.decoding.candidates.reranking import Rerank
from transformer.decoding.ensemble import begin
from transformer.decoding.jobs import Jobs
from transformer.decoding.plan import Kind, Plan, kind_of, search_options
from transformer.decoding.repetition import has_run_away
from transformer.decoding.request import Job, Request
from transformer.decoding.score import score_tokens
from transformer.decoding.speed.shortlist import Shortlist
from transformer.decoding.speed.workers import Workers, can_fork
from transformer.model.transformer import Transformer

_SAMPLES_TOGETHER = 512  # each is a row of its own; more of them take memory and are no faster


@dataclass(frozen=True)
class Translation:
    """One hypothesis as text.

    Attributes:
        text: detokenized, without a line break.
        score: log_prob / length penalty, or what `decoding.rerank` ranked by; higher is better.
        log_prob: natural logarithm of the model's probability of the tokens.
        ids: the target tokens, without special ids.
        token_log_probs: of each of them, then of the end mark; none of a sample's.
    """

    text: str
    score: float
    log_prob: float
    ids: list[int]
    token_log_probs: list[float] = field(default_factory=list)


class Translator:
    """A model, or several that translate together, with its tokenizers, ready to translate.

    Args:
        model: on its device; put into evaluation mode here.
        source_tokenizer, target_tokenizer: of the run.
        options: beam size, penalty, limits.
        warn: hears of a sentence that had to be cut or translated again.
        shortlist: see `decoding.shortlist`.
        others: models of the same vocabulary and on the same device that make an ensemble with it.
        rerank: chooses among `decoding.candidates`; None: the search's own score does.
    """

    def __init__(
        self,
        model: Transformer,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        options: DecodingSection,
        warn: Callable[[str], None] | None = None,
        shortlist: Shortlist | None = None,
        others: Sequence[Transformer] = (),
        rerank: Rerank | None = None,
    ) -> None:
        self.model = model.eval()
        self.models = [self.model, *(other.eval() for other in others)]
        self.max_length = min((each.max_length for each in self.models if each.max_length is not None), default=None)
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.options = options
        self.warn = warn
        self.shortlist = shortlist
        self.rerank = rerank
        self.searched = options.n_best if rerank is None else options.num_candidates
        self.jobs = Jobs(source_tokenizer, target_tokenizer, options, self.max_length, self._say)
        self._workers: Workers[list[Job], list[list[Hypothesis]]] | None = None

    def translate(self, sentences: Sequence[str | Request], advance: Callable[[int], None] | None = None) -> list[str]:
        """The best translation of each sentence, in order; an empty sentence gives an empty one.

        Args:
            sentences: raw text, one sentence each (`decoding.line_fields` says what its tabs mean), or a `Request`,
                which may ask for a prefix or for terms.
            advance: hears how many sentences were done, as they are.
        """
        return [found[0].text for found in self.translate_n_best(sentences, advance)]

    def translate_n_best(
        self, sentences: Sequence[str | Request], advance: Callable[[int], None] | None = None, first_number: int = 1
    ) -> list[list[Translation]]:
        """Up to `decoding.n_best` translations of each sentence, best first.

        Args:
            sentences, advance: see `translate`.
            first_number: what warnings call the first sentence.
        """
        if isinstance(sentences, str):
            raise TypeError("give a list of sentences, not one string")
        jobs = self.jobs(sentences, first_number)
        results = [[Translation("", 0.0, 0.0, [])] for _ in sentences]
        filled = {index: job for index, job in enumerate(jobs) if job.source}
        if advance is not None and len(filled) < len(jobs):
            advance(len(jobs) - len(filled))
        self._fill(results, filled, advance)
        if guard := self.options.repetition_guard:
            again = {
                index: replace(job, no_repeat=min(job.no_repeat or guard, guard))
                for index, job in filled.items()
                if has_run_away(results[index][0].ids, self.jobs.max_length(job))
            }
            for number in again:
                self._say(
                    f"sentence {first_number + number}: its translation ran away; translated again with no {guard} "
                    "tokens twice (decoding.repetition_guard)"
                )
            self._fill(results, again)
        return results

    def _fill(
        self, results: list[list[Translation]], jobs: dict[int, Job], advance: Callable[[int], None] | None = None
    ) -> None:
        """Search jobs and put what is found in their places; those of one kind share batches."""
        of_kind: dict[Kind, list[int]] = {}
        for index, job in jobs.items():
            of_kind.setdefault(kind_of(job), []).append(index)
        batches = [
            [indices[position] for position in batch]
            for kind, indices in of_kind.items()
            for batch in self._batches([len(jobs[index].source) for index in indices], widened=kind.num_terms + 1)
        ]
        for number, found in self._search_all([[jobs[index] for index in batch] for batch in batches]):
            for index, hypotheses in zip(batches[number], found, strict=True):
                texts = self.target_tokenizer.decode([h.ids for h in hypotheses])
                results[index] = [
                    Translation(text, h.score, h.log_prob, h.ids, h.token_log_probs)
                    for text, h in zip(texts, hypotheses, strict=True)
                ]
            if advance is not None:
                advance(len(found))

    def _say(self, text: str) -> None:
        if self.warn is not None:
            self.warn(text)

    def encode_pairs(self, sources: Sequence[str], targets: Sequence[str]) -> Iterator[tuple[list[int], list[int]]]:
        """The token ids of given translations, sources cut as for translating."""
        pairs = zip(
            self.source_tokenizer.encode(self.jobs.sentences(sources)),
            self.target_tokenizer.encode(targets),
            strict=True,
        )
        for number, (source, target) in enumerate(pairs, 1):
            self.jobs.check_target(target, number)
            yield self.jobs.limited(source, number), target

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[Translation]:
        """The model's own score of given translations, comparable with those of `translate_n_best`."""
        if len(sources) != len(targets):
            raise ValueError(f"{len(sources)} sources and {len(targets)} targets; give one target for each source")
        pairs = list(self.encode_pairs(sources, targets))
        scored: dict[int, Translation] = {}
        for batch in self._batches([len(target) for _, target in pairs]):
            found = score_tokens(self.models, [pairs[i][0] for i in batch], [pairs[i][1] for i in batch])
            penalty = search_options(self.options, self.searched).penalty
            for index, tokens in zip(batch, found, strict=True):
                log_prob = sum(tokens)
                target = pairs[index][1]
                score = log_prob / penalty(len(target) + 1)
                scored[index] = Translation(targets[index], score, log_prob, target, tokens)
        return [scored[index] for index in range(len(sources))]

    def _batches(self, lengths: list[int], widened: int = 1) -> list[list[int]]:
        """Indices of what is searched together, where beams are so many times as wide as usual."""
        size = max(1, self.options.batch_size // widened)
        if self.options.method == "sample":
            size = min(size, max(1, _SAMPLES_TOGETHER // self.searched))
        return list(batch_by_length(lengths, size, self.options.batch_tokens))

    def _search_all(self, work: list[list[Job]]) -> Iterator[tuple[int, list[list[Hypothesis]]]]:
        """The number and the hypotheses of each batch, in any order."""
        count = self.options.workers or 1
        if count == 1 or len(work) == 1 or not can_fork(self.model.device):
            yield from ((number, self._choose(batch)) for number, batch in enumerate(work))
            return
        workers, self._workers = self._workers or Workers(self._choose, count), None
        yield from workers.map(work)
        self._workers = workers  # all went well: they serve again

    def _choose(self, jobs: list[Job]) -> list[list[Hypothesis]]:
        """The n best of what is found for each sentence of a batch."""
        found = self._search(jobs)
        if self.rerank is not None:
            found = self.rerank([job.source for job in jobs], found)
        return [hypotheses[: self.options.n_best] for hypotheses in found]

    @torch.inference_mode()
    def _search(self, jobs: list[Job]) -> list[list[Hypothesis]]:
        limits = [self.jobs.max_length(job) for job in jobs]
        sources = [job.source for job in jobs for _ in range(self.options.diverse_groups)]
        source_ids = pad_rows(sources, last=EOS)  # (B, S)
        # few widths, so that products of the same size come again, whose plans are ready then
        width = -(-source_ids.shape[1] // 8) * 8
        width = min(width, self.max_length or width)
        source_ids = F.pad(source_ids, (0, width - source_ids.shape[1]), value=PAD).to(self.model.device)
        shortlist = None if self.shortlist is None else self.shortlist.of_batch(sources, self.model.device)
        plan = Plan(self.options, jobs, self.searched, self.model.device, None if shortlist is None else shortlist.ids)
        try:
            step, state = begin(self.models, source_ids, shortlist)
            found = plan.search(step, state, limits)
        except RuntimeError as error:  # rounding to 8 bits asks for the least and the most of what it rounds
            if "ChooseQuantizationParams" not in str(error):
                raise
            raise not_numbers() from None
        if shortlist is None:
            return found
        listed = shortlist.ids.tolist()
        return [[replace(h, ids=[listed[place] for place in h.ids]) for h in hypotheses] for hypotheses in found]

    def source_ids(self, sentence: str) -> list[int]:
        """The tokens of a sentence that translating it takes into account."""
        return self.jobs.source_ids(sentence)
