"""What is asked for in text, as what the search works on: tokens, within the limits of model and options."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transformer.config import DecodingSection
from transformer.data.tokenizer import UNK, Tokenizer
from transformer.decoding.request import Job, Request, parse_line, progress_of
from transformer.decoding.terms.automaton import Spelling
from transformer.errors import UserError


class Jobs:
    """Makes jobs of sentences and requests.

    Args:
        source_tokenizer, target_tokenizer: of the run.
        options: of decoding.
        positions: the most tokens that the model has positions for; None: any number.
        say: hears of a sentence that had to be cut.
    """

    def __init__(
        self,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        options: DecodingSection,
        positions: int | None,
        say: Callable[[str], None],
    ) -> None:
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.options = options
        self.positions = positions
        self.say = say
        self._spelling: Spelling | None = None

    def __call__(self, sentences: Sequence[str | Request], first_number: int) -> list[Job]:
        """What is to be searched for each sentence.

        Args:
            sentences: see `Translator.translate`.
            first_number: what messages call the first.

        Raises:
            UserError: where it cannot be given what it asks for.
        """
        numbers = range(first_number, first_number + len(sentences))
        requests = [self._request(sentence, number) for number, sentence in zip(numbers, sentences, strict=True)]
        sources = self.source_tokenizer.encode([request.sentence for request in requests])
        prefixes = self.target_tokenizer.encode([request.prefix for request in requests])
        columns = zip(numbers, requests, sources, prefixes, strict=True)
        return [self._job(number, request, source, prefix) for number, request, source, prefix in columns]

    def sentences(self, lines: Sequence[str]) -> list[str]:
        """The sentences of lines alone, see `decoding.line_fields`."""
        return [self._request(line, number).sentence for number, line in enumerate(lines, 1)]

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
        job = Job(self.limited(source, number), prefix, required, preferred, self.options.no_repeat_ngram_size)
        self._check(job, number)
        return job

    def _check(self, job: Job, number: int) -> None:
        if self.options.min_length >= (self.positions or self.options.min_length + 1):
            raise UserError(
                f"decoding.min_length={self.options.min_length}: this model's positions end at {self.positions} "
                "(model.max_positions); lower it"
            )
        if UNK in job.prefix:
            raise UserError(f"sentence {number}: its prefix has a character that the vocabulary cannot write; mend it")
        if job.prefix or job.required or job.preferred:
            for option, needed in (("shortlist", False), ("method", "beam")):
                if getattr(self.options, option) != needed:
                    shown = str(needed).lower()
                    raise UserError(
                        f"sentence {number}: has a prefix or terms, for which decoding.{option} must be {shown}"
                    )
        if job.required and self.options.diverse_groups > 1:
            raise UserError(f"sentence {number}: has required terms, for which decoding.diverse_groups must be 1")
        if job.num_told >= self.max_length(job):
            raise UserError(f"sentence {number}: its prefix and terms are longer than this model's translations can be")

    def max_length(self, job: Job) -> int:
        """The most tokens of a translation, end mark included."""
        limit = int(self.options.max_length_ratio * len(job.source)) + self.options.max_length_extra
        limit = max(limit, self.options.min_length) + job.num_told + 1
        return min(limit, self.positions or limit)

    def check_target(self, ids: list[int], number: int) -> None:
        """Refuse a translation that the model has no positions for.

        Raises:
            UserError: which names it by its number.
        """
        if len(ids) >= (self.positions or len(ids) + 1):
            raise UserError(
                f"translation {number}: {len(ids)} tokens, and this model's positions end at {self.positions} "
                "with the begin mark (model.max_positions); leave it out"
            )

    def source_ids(self, sentence: str) -> list[int]:
        """The tokens of a sentence that translating it takes into account."""
        (ids,) = self.source_tokenizer.encode([self._request(sentence, 1).sentence])
        return ids[: self._source_limit()[0]]

    def _source_limit(self) -> tuple[int, str]:
        """How many tokens of a source count, and the option that says so."""
        limit = self.options.max_source_length
        if self.positions is not None and self.positions - 1 < limit:
            return self.positions - 1, "model.max_positions"
        return limit, "decoding.max_source_length"

    def limited(self, ids: list[int], number: int) -> list[int]:
        """The tokens of a source that count."""
        limit, reason = self._source_limit()
        if len(ids) > limit:
            self.say(f"sentence {number}: {len(ids)} tokens; only the first {limit} count ({reason})")
        return ids[:limit]
