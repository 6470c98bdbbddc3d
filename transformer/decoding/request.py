"""What is asked of the translator: a sentence, and what its translation must begin with or contain.

`Request` is text; `RequestEncoder` turns it into token ids within the limits of model and options.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformer.config import DecodingSection
from transformer.config.decoding_section import LineFields
from transformer.data.tokenizer import UNK, Tokenizer
from transformer.decoding.terms.automaton import Progress, Spelling
from transformer.errors import UserError

MAX_TERMS = 16  # each widens the beam


@dataclass(frozen=True)
class Request:
    """One sentence to translate.

    Attributes:
        sentence: raw text.
        prefix: text that the translation begins with.
        terms: what it contains, see `decoding.term_bonus`; case-sensitive.
    """

    sentence: str
    prefix: str = ""
    terms: tuple[str, ...] = ()


def parse_line(line: str, fields: LineFields) -> Request:
    """A line of input, whose fields are separated by tabs: see `decoding.line_fields`."""
    if fields == "sentence":
        return Request(line)
    sentence, *rest = line.split("\t")
    prefix = rest.pop(0) if fields != "terms" and rest else ""
    if rest and fields == "prefix":
        raise UserError("more than one tab, and decoding.line_fields=prefix knows a sentence and a prefix alone")
    return Request(sentence, prefix, tuple(term.strip() for term in rest if term.strip()))


@dataclass(frozen=True)
class EncodedRequest:
    """A request as token ids, without special ids."""

    source: list[int]
    prefix: list[int]
    required: Progress | None  # terms that must occur
    preferred: Progress | None  # terms that should occur
    no_repeat: int  # n-grams of this many tokens occur at most once; 0: any may repeat

    @property
    def prescribed_length(self) -> int:
        """Tokens that the prefix and the required terms take up."""
        return len(self.prefix) + (self.required.total if self.required else 0)

    @property
    def term_tokens(self) -> set[int]:
        """Tokens that lead on with a term."""
        terms = [term for progress in (self.required, self.preferred) if progress for term in progress.terms]
        return {token for term in terms for token in term.tokens}


@dataclass(frozen=True)
class RequestEncoder:
    """Encodes sentences and requests. Several threads may use it at once.

    Attributes:
        max_positions: number of positions of the model; None: unlimited.
        warn: called with a message when a sentence is cut.
    """

    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    options: DecodingSection
    max_positions: int | None
    warn: Callable[[str], None]

    @functools.cached_property
    def _spelling(self) -> Spelling:
        return Spelling(self.target_tokenizer)

    def encode(self, sentences: Sequence[str | Request], first_number: int) -> list[EncodedRequest]:
        """Encode sentences, of which messages call the first one `first_number`.

        Raises:
            UserError: a sentence asks for what it cannot get.
        """
        numbers = range(first_number, first_number + len(sentences))
        requests = [self._request(sentence, number) for number, sentence in zip(numbers, sentences, strict=True)]
        sources = self.source_tokenizer.encode([request.sentence for request in requests])
        prefixes = self.target_tokenizer.encode([request.prefix for request in requests])
        columns = zip(numbers, requests, sources, prefixes, strict=True)
        return [self._encoded(number, request, source, prefix) for number, request, source, prefix in columns]

    def encode_pairs(
        self, sources: Sequence[str | Request], targets: Sequence[str]
    ) -> list[tuple[list[int], list[int]]]:
        """The token ids of sentences and their given translations.

        Raises:
            UserError: a translation is longer than the model has positions for.
        """
        sentences = [self._request(line, number).sentence for number, line in enumerate(sources, 1)]
        encoded = self.source_tokenizer.encode(sentences)
        pairs = []
        for number, (source, target) in enumerate(zip(encoded, self.target_tokenizer.encode(targets), strict=True), 1):
            if len(target) >= (self.max_positions or math.inf):
                raise UserError(
                    f"translation {number}: {len(target)} tokens, and this model's positions end at "
                    f"{self.max_positions} with the begin mark (model.max_positions); leave it out"
                )
            pairs.append((self._cut(source, number), target))
        return pairs

    def source_ids(self, sentence: str | Request) -> list[int]:
        """The tokens of a sentence that its translation takes into account."""
        (ids,) = self.source_tokenizer.encode([self._request(sentence, 1).sentence])
        return ids[: self._source_limit()[0]]

    def max_length(self, request: EncodedRequest) -> int:
        """The most tokens of a translation, end mark included."""
        limit = int(self.options.max_length_ratio * len(request.source)) + self.options.max_length_extra
        limit = max(limit, self.options.min_length) + request.prescribed_length + 1
        return min(limit, self.max_positions or limit)

    def _request(self, sentence: str | Request, number: int) -> Request:
        if isinstance(sentence, Request):
            return sentence
        if not isinstance(sentence, str):
            raise TypeError(f"sentence {number}: give text or a Request, not {type(sentence).__name__}")
        try:
            sentence.encode()
            return parse_line(sentence, self.options.line_fields)
        except UnicodeEncodeError as error:
            raise UserError(f"sentence {number}: character {error.start + 1} is half of one; mend the text") from None
        except UserError as error:
            raise UserError(f"sentence {number}: {error}") from None

    def _encoded(self, number: int, request: Request, source: list[int], prefix: list[int]) -> EncodedRequest:
        try:
            progress = self._progress(request.terms)
        except UserError as error:
            raise UserError(f"sentence {number}: {error}") from None
        required, preferred = (progress, None) if self.options.term_bonus is None else (None, progress)
        cut = self._cut(source, number)
        encoded = EncodedRequest(cut, prefix, required, preferred, self.options.no_repeat_ngram_size)
        self._check(encoded, number)
        return encoded

    def _progress(self, terms: Sequence[str]) -> Progress | None:
        """The distinct terms of a sentence."""
        distinct = list(dict.fromkeys(terms))
        if len(distinct) > MAX_TERMS:
            raise UserError(f"{len(distinct)} terms; at most {MAX_TERMS} a sentence, leave some out")
        return Progress([self._spelling.term(term) for term in distinct]) if distinct else None

    def _check(self, request: EncodedRequest, number: int) -> None:
        """Refuse what model and options cannot give."""
        options = self.options
        if options.min_length >= (self.max_positions or math.inf):
            raise UserError(
                f"decoding.min_length={options.min_length}: this model's positions end at {self.max_positions} "
                "(model.max_positions); lower it"
            )
        if UNK in request.prefix:
            raise UserError(f"sentence {number}: its prefix has a character that the vocabulary cannot write; mend it")
        if request.prefix or request.required or request.preferred:
            needed = "shortlist must be false" if options.shortlist else "method must be beam"
            if options.shortlist or options.method != "beam":
                raise UserError(f"sentence {number}: has a prefix or terms, for which decoding.{needed}")
        if request.required and options.diverse_groups > 1:
            raise UserError(f"sentence {number}: has required terms, for which decoding.diverse_groups must be 1")
        if request.prescribed_length >= self.max_length(request):
            raise UserError(f"sentence {number}: its prefix and terms are longer than this model's translations can be")

    def _cut(self, ids: list[int], number: int) -> list[int]:
        limit, reason = self._source_limit()
        if len(ids) > limit:
            self.warn(f"sentence {number}: {len(ids)} tokens; only the first {limit} count ({reason})")
        return ids[:limit]

    def _source_limit(self) -> tuple[int, str]:
        """How many tokens of a source count, and the option that sets the limit."""
        limit = self.options.max_source_length
        if self.max_positions is not None and self.max_positions - 1 < limit:
            return self.max_positions - 1, "model.max_positions"
        return limit, "decoding.max_source_length"
