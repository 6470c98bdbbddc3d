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
from transformer.decoding.plan import Kind, Plan, kind_of, search_options
from transformer.decoding.repetition import has_run_away
from transformer.decoding.request import Job, Request, parse_line, progress_of
from transformer.decoding.score import score_tokens
from transformer.decoding.shortlist import Shortlist
from transformer.decoding.step import ModelState, ModelStep
from transformer.decoding.terms import Spelling
from transformer.decoding.workers import Workers, can_fork
from transformer.errors import UserError
from transformer.model.transformer import Transformer


@dataclass(frozen=True)
class Translation:
    """One hypothesis as text.

    Attributes:
        text: detokenized, without a line break.
        score: log_prob / length penalty; higher is better.
        log_prob: natural logarithm of the model's probability of the tokens.
        ids: the target tokens, without special ids.
        token_log_probs: of each of them, then of the end mark.
    """

    text: str
    score: float
    log_prob: float
    ids: list[int]
    token_log_probs: list[float] = field(default_factory=list)


class Translator:
    """A model with its tokenizers, ready to translate.

    Args:
        model: on its device; put into evaluation mode here.
        source_tokenizer, target_tokenizer: of the run.
        options: beam size, penalty, limits.
        warn: hears of a sentence that had to be cut or translated again.
        shortlist: see `decoding.shortlist`.

    Attributes:
        num_run_away: how many translations were searched again, see `decoding.repetition_guard`.
    """

    def __init__(
        self,
        model: Transformer,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        options: DecodingSection,
        warn: Callable[[str], None] | None = None,
        shortlist: Shortlist | None = None,
    ) -> None:
        self.model = model.eval()
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.options = options
        self.warn = warn
        self.shortlist = shortlist
        self.num_run_away = 0
        self._spelling: Spelling | None = None
        self._workers: Workers[list[Job], list[list[Hypothesis]]] | None = None
        self.search_options = search_options(options)

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
        jobs = self._jobs(sentences, first_number)
        results = [[Translation("", 0.0, 0.0, [])] for _ in sentences]
        filled = {index: job for index, job in enumerate(jobs) if job.source}
        if advance is not None and len(filled) < len(jobs):
            advance(len(jobs) - len(filled))
        self._fill(results, filled, advance)
        if guard := self.options.repetition_guard:
            again = {
                index: replace(job, no_repeat=min(job.no_repeat or guard, guard))
                for index, job in filled.items()
                if has_run_away(results[index][0].ids, self._max_length(job))
            }
            for number in again:
                self._say(
                    f"sentence {first_number + number}: its translation ran away; translated again with no {guard} "
                    "tokens twice (decoding.repetition_guard)"
                )
            self.num_run_away += len(again)
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
            for indices in of_kind.values()
            for batch in self._batches([len(jobs[index].source) for index in indices])
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

    def _jobs(self, sentences: Sequence[str | Request], first_number: int) -> list[Job]:
        """What is to be searched for each sentence.

        Raises:
            UserError: where it cannot be given what it asks for.
        """
        numbers = range(first_number, first_number + len(sentences))
        requests = [self._request(sentence, number) for number, sentence in zip(numbers, sentences, strict=True)]
        sources = self.source_tokenizer.encode([request.sentence for request in requests])
        prefixes = self.target_tokenizer.encode([request.prefix for request in requests])
        columns = zip(numbers, requests, sources, prefixes, strict=True)
        return [self._job(number, request, source, prefix) for number, request, source, prefix in columns]

    def _request(self, sentence: str | Request, number: int) -> Request:
        try:
            return parse_line(sentence, self.options.line_fields) if isinstance(sentence, str) else sentence
        except UserError as error:
            raise UserError(f"sentence {number}: {error}") from None

    def _job(self, number: int, request: Request, source: list[int], prefix: list[int]) -> Job:
        progress = None
        if request.terms:
            self._spelling = self._spelling or Spelling(self.target_tokenizer)
            try:
                progress = progress_of(request.terms, self._spelling)
            except UserError as error:
                raise UserError(f"sentence {number}: {error}") from None
        required, preferred = (progress, None) if self.options.term_bonus is None else (None, progress)
        job = Job(self._limited(source, number), prefix, required, preferred, self.options.no_repeat_ngram_size)
        told = bool(prefix or progress)
        if told and self.shortlist is not None:
            raise UserError(f"sentence {number}: has a prefix or terms, for which decoding.shortlist must be false")
        if required and self.options.diverse_groups > 1:
            raise UserError(f"sentence {number}: has required terms, for which decoding.diverse_groups must be 1")
        if job.num_told >= self._max_length(job):
            raise UserError(f"sentence {number}: its prefix and terms are longer than this model's translations can be")
        return job

    def _say(self, text: str) -> None:
        if self.warn is not None:
            self.warn(text)

    def encode_pairs(self, sources: Sequence[str], targets: Sequence[str]) -> Iterator[tuple[list[int], list[int]]]:
        """The token ids of given translations, sources cut as for translating."""
        pairs = zip(self.source_tokenizer.encode(sources), self.target_tokenizer.encode(targets), strict=True)
        for number, (source, target) in enumerate(pairs, 1):
            self._check_target(target, number)
            yield self._limited(source, number), target

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[Translation]:
        """The model's own score of given translations, comparable with those of `translate_n_best`."""
        if len(sources) != len(targets):
            raise ValueError(f"{len(sources)} sources and {len(targets)} targets; give one target for each source")
        source_ids = [self._limited(ids, number) for number, ids in enumerate(self.source_tokenizer.encode(sources), 1)]
        target_ids = self.target_tokenizer.encode(targets)
        for number, ids in enumerate(target_ids, 1):
            self._check_target(ids, number)
        scored: dict[int, Translation] = {}
        for batch in self._batches([len(ids) for ids in target_ids]):
            found = score_tokens(self.model, [source_ids[i] for i in batch], [target_ids[i] for i in batch])
            for index, tokens in zip(batch, found, strict=True):
                log_prob, penalty = sum(tokens), self.search_options.penalty(len(target_ids[index]) + 1)
                scored[index] = Translation(targets[index], log_prob / penalty, log_prob, target_ids[index], tokens)
        return [scored[index] for index in range(len(sources))]

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        return list(batch_by_length(lengths, self.options.batch_size, self.options.batch_tokens))

    def _search_all(self, work: list[list[Job]]) -> Iterator[tuple[int, list[list[Hypothesis]]]]:
        """The number and the hypotheses of each batch, in any order."""
        count = self.options.workers or 1
        if count == 1 or len(work) == 1 or not can_fork(self.model.device):
            yield from ((number, self._search(batch)) for number, batch in enumerate(work))
            return
        workers, self._workers = self._workers or Workers(self._search, count), None
        yield from workers.map(work)
        self._workers = workers  # all went well: they serve again

    @torch.inference_mode()
    def _search(self, jobs: list[Job]) -> list[list[Hypothesis]]:
        plan = Plan(self.options, jobs, self.model.device)
        limits = [self._max_length(job) for job in jobs]
        sources = [job.source for job in jobs for _ in range(plan.copies)]
        source_ids = pad_rows(sources, last=EOS)  # (B, S)
        # few widths, so that products of the same size come again, whose plans are ready then
        width = -(-source_ids.shape[1] // 8) * 8
        width = min(width, self.model.max_length or width)
        source_ids = F.pad(source_ids, (0, width - source_ids.shape[1]), value=PAD).to(self.model.device)
        shortlist = None if self.shortlist is None else self.shortlist.of_batch(sources, self.model.device)
        try:
            state = ModelState(self.model, source_ids, shortlist)
            found = plan.search(ModelStep(self.model, shortlist), state, limits)
        except RuntimeError as error:  # rounding to 8 bits asks for the least and the most of what it rounds
            if "ChooseQuantizationParams" not in str(error):
                raise
            raise not_numbers() from None
        if shortlist is None:
            return found
        ids = shortlist.ids.tolist()
        return [[replace(h, ids=[ids[place] for place in h.ids]) for h in hypotheses] for hypotheses in found]

    def _max_length(self, job: Job) -> int:
        """The most tokens of a translation, end mark included."""
        limit = int(self.options.max_length_ratio * len(job.source)) + self.options.max_length_extra
        limit = max(limit, self.options.min_length) + job.num_told + 1
        return min(limit, self.model.max_length or limit)

    def _check_target(self, ids: list[int], number: int) -> None:
        if len(ids) >= (self.model.max_length or len(ids) + 1):
            raise UserError(
                f"translation {number}: {len(ids)} tokens, and this model's positions end at {self.model.max_length} "
                "with the begin mark (model.max_positions); leave it out"
            )

    def source_ids(self, sentence: str) -> list[int]:
        """The tokens of a sentence that translating it takes into account."""
        (ids,) = self.source_tokenizer.encode([self._request(sentence, 1).sentence])
        return ids[: self._source_limit()[0]]

    def _source_limit(self) -> tuple[int, str]:
        """How many tokens of a source count, and the option that says so."""
        limit = self.options.max_source_length
        if self.model.max_length is not None and self.model.max_length - 1 < limit:
            return self.model.max_length - 1, "model.max_positions"
        return limit, "decoding.max_source_length"

    def _limited(self, ids: list[int], number: int) -> list[int]:
        limit, reason = self._source_limit()
        if len(ids) > limit:
            self._say(f"sentence {number}: {len(ids)} tokens; only the first {limit} count ({reason})")
        return ids[:limit]
