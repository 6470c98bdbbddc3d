"""Sentences in, sentences out: tokenizer, search and detokenizer as one object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from transformer.config import DecodingSection
from transformer.data.batch import pad_rows
from transformer.data.batching import batch_by_length
from transformer.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer
from transformer.decoding.beam_search import Hypothesis, SearchOptions, beam_search, not_numbers
from transformer.decoding.ensemble import begin
from transformer.decoding.length_penalty import gnmt_length_penalty
from transformer.decoding.noise import sentence_key
from transformer.decoding.reranking import Rerank
from transformer.decoding.sampling import SamplingOptions, sample
from transformer.decoding.score import score_pairs
from transformer.decoding.shortlist import Shortlist
from transformer.decoding.workers import Workers, can_fork
from transformer.errors import UserError
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
    """

    text: str
    score: float
    log_prob: float
    ids: list[int]


class Translator:
    """A model, or several that translate together, with its tokenizers, ready to translate.

    Args:
        model: on its device; put into evaluation mode here.
        source_tokenizer, target_tokenizer: of the run.
        options: beam size, penalty, limits.
        warn: hears of a sentence that had to be cut.
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
        searched = options.n_best if rerank is None else options.num_candidates
        self._workers: Workers[list[list[int]], list[list[Hypothesis]]] | None = None
        self.search_options = SearchOptions(
            beam_size=options.beam_size,
            n_best=searched,
            alpha=options.gnmt_length_penalty,
            bos_id=BOS,
            eos_id=EOS,
            forbidden_ids=(PAD, UNK, BOS),
            patience=options.patience,
        )
        self.sampling_options = SamplingOptions(
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

    def translate(self, sentences: Sequence[str], advance: Callable[[int], None] | None = None) -> list[str]:
        """The best translation of each sentence, in order; an empty sentence gives an empty one.

        Args:
            sentences: raw text, one sentence each.
            advance: hears how many sentences were done, as they are.
        """
        return [found[0].text for found in self.translate_n_best(sentences, advance)]

    def translate_n_best(
        self, sentences: Sequence[str], advance: Callable[[int], None] | None = None, first_number: int = 1
    ) -> list[list[Translation]]:
        """Up to `decoding.n_best` translations of each sentence, best first.

        Args:
            sentences, advance: see `translate`.
            first_number: what warnings call the first sentence.
        """
        if isinstance(sentences, str):
            raise TypeError("give a list of sentences, not one string")
        encoded = self.source_tokenizer.encode(sentences)
        sources = [self._limited(ids, number) for number, ids in enumerate(encoded, first_number)]
        results = [[Translation("", 0.0, 0.0, [])] for _ in sentences]
        filled = [index for index, ids in enumerate(sources) if ids]
        if advance is not None and len(filled) < len(sources):
            advance(len(sources) - len(filled))
        batches = self._batches([len(sources[index]) for index in filled])
        work = [[sources[filled[position]] for position in batch] for batch in batches]
        for number, found in self._search_all(work):
            indices = [filled[position] for position in batches[number]]
            for index, hypotheses in zip(indices, found, strict=True):
                texts = self.target_tokenizer.decode([h.ids for h in hypotheses])
                results[index] = [
                    Translation(text, h.score, h.log_prob, h.ids) for text, h in zip(texts, hypotheses, strict=True)
                ]
            if advance is not None:
                advance(len(indices))
        return results

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
            log_probs = score_pairs(self.models, [source_ids[i] for i in batch], [target_ids[i] for i in batch])
            for index, log_prob in zip(batch, log_probs, strict=True):
                penalty = gnmt_length_penalty(len(target_ids[index]) + 1, self.options.gnmt_length_penalty)
                scored[index] = Translation(targets[index], log_prob / penalty, log_prob, target_ids[index])
        return [scored[index] for index in range(len(sources))]

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        size = self.options.batch_size
        if self.options.method == "sample":
            size = min(size, max(1, _SAMPLES_TOGETHER // self.sampling_options.samples))
        return list(batch_by_length(lengths, size, self.options.batch_tokens))

    def _search_all(self, work: list[list[list[int]]]) -> Iterator[tuple[int, list[list[Hypothesis]]]]:
        """The number and the hypotheses of each batch, in any order."""
        count = self.options.workers or 1
        if count == 1 or len(work) == 1 or not can_fork(self.model.device):
            yield from ((number, self._choose(batch)) for number, batch in enumerate(work))
            return
        workers, self._workers = self._workers or Workers(self._choose, count), None
        yield from workers.map(work)
        self._workers = workers  # all went well: they serve again

    def _choose(self, sources: list[list[int]]) -> list[list[Hypothesis]]:
        """The n best of what is found for each sentence of a batch."""
        found = self._search(sources)
        if self.rerank is not None:
            found = self.rerank(sources, found)
        return [hypotheses[: self.options.n_best] for hypotheses in found]

    @torch.inference_mode()
    def _search(self, sources: list[list[int]]) -> list[list[Hypothesis]]:
        source_ids = pad_rows(sources, last=EOS)  # (B, S)
        # few widths, so that products of the same size come again, whose plans are ready then
        width = -(-source_ids.shape[1] // 8) * 8
        width = min(width, self.max_length or width)
        source_ids = F.pad(source_ids, (0, width - source_ids.shape[1]), value=PAD).to(self.model.device)
        limits = [self._max_length(len(ids)) for ids in sources]
        shortlist = None if self.shortlist is None else self.shortlist.of_batch(sources, self.model.device)
        try:
            step, state = begin(self.models, source_ids, shortlist)
            if self.options.method == "sample":
                keys = [sentence_key(self.options.seed, ids) for ids in sources]
                ids = None if shortlist is None else shortlist.ids
                found = sample(step, state, limits, keys, self.sampling_options, self.model.device, ids)
            else:
                found = beam_search(step, state, limits, self.search_options, self.model.device)
        except RuntimeError as error:  # rounding to 8 bits asks for the least and the most of what it rounds
            if "ChooseQuantizationParams" not in str(error):
                raise
            raise not_numbers() from None
        if shortlist is None:
            return found
        listed = shortlist.ids.tolist()
        return [[replace(h, ids=[listed[place] for place in h.ids]) for h in hypotheses] for hypotheses in found]

    def _max_length(self, source_length: int) -> int:
        """The most tokens of a translation, end mark included."""
        limit = int(self.options.max_length_ratio * source_length) + self.options.max_length_extra + 1
        return min(limit, self.max_length or limit)

    def _check_target(self, ids: list[int], number: int) -> None:
        if len(ids) >= (self.max_length or len(ids) + 1):
            raise UserError(
                f"translation {number}: {len(ids)} tokens, and this model's positions end at {self.max_length} "
                "with the begin mark (model.max_positions); leave it out"
            )

    def source_ids(self, sentence: str) -> list[int]:
        """The tokens of a sentence that translating it takes into account."""
        (ids,) = self.source_tokenizer.encode([sentence])
        return ids[: self._source_limit()[0]]

    def _source_limit(self) -> tuple[int, str]:
        """How many tokens of a source count, and the option that says so."""
        limit = self.options.max_source_length
        if self.max_length is not None and self.max_length - 1 < limit:
            return self.max_length - 1, "model.max_positions"
        return limit, "decoding.max_source_length"

    def _limited(self, ids: list[int], number: int) -> list[int]:
        limit, reason = self._source_limit()
        if len(ids) > limit and self.warn is not None:
            self.warn(f"sentence {number}: {len(ids)} tokens; only the first {limit} count ({reason})")
        return ids[:limit]
