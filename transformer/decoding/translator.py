"""Sentences in, sentences out: tokenizer, search and detokenizer as one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from transformer.config import DecodingSection
from transformer.data.tokenizer import EOS, Tokenizer
from transformer.decoding.beam_search import Hypothesis
from transformer.decoding.candidates.batch_search import BatchSearch, search_options
from transformer.decoding.candidates.reranking import Rerank
from transformer.decoding.inspection.attention_maps import AttentionMaps, attention_maps
from transformer.decoding.request import EncodedRequest, Request, RequestEncoder
from transformer.decoding.rules.repetition_guard import has_run_away
from transformer.decoding.score import score_tokens
from transformer.decoding.speed.shortlist import Shortlist
from transformer.decoding.speed.workers import Workers, can_fork
from transformer.errors import UserError
from transformer.model.transformer import Transformer


@dataclass(frozen=True)
class Translation:
    """One hypothesis as text.

    Attributes:
        text: detokenized, without a line break.
        score: ranking score: log_prob / length penalty, or that of `decoding.rerank`; higher is better.
        log_prob: natural logarithm of the model's probability of the tokens.
        ids: the target tokens, without special ids.
        token_log_probs: log-probability of each token, then of the end mark; empty for a sample.
    """

    text: str
    score: float
    log_prob: float
    ids: list[int]
    token_log_probs: list[float] = field(default_factory=list)


class Translator:
    """A model, or an ensemble, with its tokenizers, ready to translate.

    Several threads may share a translator: each call gives what it gives alone. It cannot be copied or pickled.

    Args:
        model: on its device; put into evaluation mode here.
        warn: called with a message when a sentence is cut or translated again.
        shortlist: see `decoding.shortlist`.
        others: models of the same vocabulary and on the same device that form an ensemble with `model`.
        rerank: ranks `decoding.candidates` again; None: the search's own score decides.
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
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.options = options
        self.warn = warn
        self.rerank = rerank
        num_candidates = options.n_best if rerank is None else options.num_candidates
        self._search = BatchSearch(self.models, options, num_candidates, shortlist)
        max_positions = min((each.max_length for each in self.models if each.max_length is not None), default=None)
        self._encoder = RequestEncoder(source_tokenizer, target_tokenizer, options, max_positions, self._say)
        count = (options.workers or 1) if can_fork(model.device) else 1
        self._workers = Workers(self._search_batch, count)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Translator cannot be copied or pickled, since its weights are laid out for this process; share it "
            "between threads, and load the run again in another process"
        )

    def translate(self, sentences: Sequence[str | Request], advance: Callable[[int], None] | None = None) -> list[str]:
        """The best translation of each sentence, in order; an empty sentence gives an empty one.

        Args:
            sentences: raw text, one sentence each (`decoding.line_fields` says what its tabs mean), or a `Request`,
                which may ask for a prefix or for terms.
            advance: called with a number of sentences each time that so many more are done.
        """
        return [found[0].text for found in self.translate_n_best(sentences, advance)]

    def translate_n_best(
        self, sentences: Sequence[str | Request], advance: Callable[[int], None] | None = None, first_number: int = 1
    ) -> list[list[Translation]]:
        """Up to `decoding.n_best` translations of each sentence, best first.

        Args:
            sentences, advance: see `translate`.
            first_number: number of the first sentence in messages.

        Raises:
            UserError: a sentence asks for what it cannot get, or the scores are NaN or infinite.
        """
        if isinstance(sentences, str | bytes):
            raise TypeError("give a list of sentences, not one string")
        requests = self._encoder.encode(sentences, first_number)
        results = [[Translation("", 0.0, 0.0, [])] for _ in sentences]
        filled = {index: request for index, request in enumerate(requests) if request.source}
        if advance is not None and len(filled) < len(requests):
            advance(len(requests) - len(filled))
        self._fill(results, filled, advance)
        if guard := self.options.repetition_guard:
            again = {
                index: replace(request, no_repeat=min(request.no_repeat or guard, guard))
                for index, request in filled.items()
                if has_run_away(results[index][0].ids, self._encoder.max_length(request))
            }
            for index in again:
                self._say(
                    f"sentence {first_number + index}: its translation ran away; translated again with no {guard} "
                    "tokens twice (decoding.repetition_guard)"
                )
            self._fill(results, again)
        return results

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[Translation]:
        """The model's own score of given translations, comparable with those of `translate_n_best`."""
        if isinstance(sources, str | bytes) or isinstance(targets, str | bytes):
            raise TypeError("give lists of sentences, not one string")
        if len(sources) != len(targets):
            raise ValueError(f"{len(sources)} sources and {len(targets)} targets; give one target for each source")
        pairs = self.encode_pairs(sources, targets)
        penalty = search_options(self.options, 1).penalty
        scored: dict[int, Translation] = {}
        for batch in self._search.by_length([len(target) for _, target in pairs]):
            with self._workers.computing_here():
                found = score_tokens(self.models, [pairs[i][0] for i in batch], [pairs[i][1] for i in batch])
            for index, tokens in zip(batch, found, strict=True):
                log_prob, target = sum(tokens), pairs[index][1]
                score = log_prob / penalty(len(target) + 1)
                scored[index] = Translation(targets[index], score, log_prob, target, tokens)
        return [scored[index] for index in range(len(sources))]

    def attention(self, source: str | Request, translation: str | Translation | None = None) -> AttentionMaps:
        """What attends to what when the model reads a sentence and writes a translation.

        Args:
            source: see `translate`.
            translation: text, or a `Translation` of this sentence; None: the best that the search finds.

        Raises:
            UserError: an ensemble has no attention of its own, or the text is too long for the model.
        """
        if len(self.models) > 1:
            raise UserError("attention is that of one model; leave decoding.ensemble out")
        if isinstance(translation, str):
            ((source_ids, target_ids),) = self.encode_pairs([source], [translation])
        else:
            translation = translation or self.translate_n_best([source])[0][0]
            source_ids, target_ids = self.source_ids(source), translation.ids
        with self._workers.computing_here():
            maps = attention_maps(self.model, source_ids, target_ids)
        pieces = self.source_tokenizer.pieces([*source_ids, EOS]), self.target_tokenizer.pieces([*target_ids, EOS])
        return AttentionMaps(*pieces, maps)

    def encode_pairs(
        self, sources: Sequence[str | Request], targets: Sequence[str]
    ) -> list[tuple[list[int], list[int]]]:
        """The token ids of sentences, cut as for translating, and of their given translations."""
        return self._encoder.encode_pairs(sources, targets)

    def source_ids(self, sentence: str | Request) -> list[int]:
        """The tokens of a sentence that its translation takes into account."""
        return self._encoder.source_ids(sentence)

    def _fill(
        self,
        results: list[list[Translation]],
        requests: dict[int, EncodedRequest],
        advance: Callable[[int], None] | None = None,
    ) -> None:
        """Search requests and put their translations in their places."""
        batches = self._search.batches(requests)
        for number, found in self._workers.map([[requests[index] for index in batch] for batch in batches]):
            for index, hypotheses in zip(batches[number], found, strict=True):
                texts = self.target_tokenizer.decode([h.ids for h in hypotheses])
                results[index] = [
                    Translation(text, h.score, h.log_prob, h.ids, h.token_log_probs)
                    for text, h in zip(texts, hypotheses, strict=True)
                ]
            if advance is not None:
                advance(len(found))

    def _search_batch(self, requests: list[EncodedRequest]) -> list[list[Hypothesis]]:
        """The n best translations of each sentence of a batch."""
        found = self._search.search(requests, [self._encoder.max_length(request) for request in requests])
        if self.rerank is not None:
            found = self.rerank([request.source for request in requests], found)
        return [hypotheses[: self.options.n_best] for hypotheses in found]

    def _say(self, text: str) -> None:
        if self.warn is not None:
            self.warn(text)
