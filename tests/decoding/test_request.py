from collections.abc import Callable

import pytest

from transformer.config import DecodingSection
from transformer.config.decoding_section import LineFields
from transformer.decoding.request import Request, parse_line
from transformer.decoding.translator import Translator
from transformer.errors import UserError

MakeTranslator = Callable[..., Translator]


@pytest.mark.parametrize(
    ("line", "fields", "expected"),
    [
        ("a\tb", "sentence", Request("a\tb")),
        ("a", "terms", Request("a")),
        ("a\tb\t c d \t", "terms", Request("a", terms=("b", "c d"))),
        ("a\tb", "prefix", Request("a", "b")),
        ("a\t\tb", "prefix_terms", Request("a", "", ("b",))),
        ("a\tx\tb\tc", "prefix_terms", Request("a", "x", ("b", "c"))),
    ],
)
def test_the_fields_of_a_line(line: str, fields: LineFields, expected: Request) -> None:
    assert parse_line(line, fields) == expected


@pytest.mark.parametrize(
    ("request_", "options", "message"),
    [
        (Request("a dog", terms=("x" * 999,)), {}, "sentence 3: term 'xxx"),
        (Request("a dog", terms=tuple("abcdefghijklmnopq")), {}, "sentence 3: 17 terms; at most 16"),
        (Request("a dog", terms=("cat",)), {"diverse_groups": 2}, "sentence 3: has required terms"),
        ("a dog\tcat\tdog", {"line_fields": "prefix"}, "sentence 3: more than one tab"),
        (Request("a cat", prefix="the"), {"method": "sample"}, r"for which decoding\.method must be beam"),
        (Request("a cat", terms=("the",)), {"method": "sample"}, r"for which decoding\.method must be beam"),
        (Request("a cat", prefix="the"), {"shortlist": True}, r"for which decoding\.shortlist must be false"),
    ],
)
def test_what_cannot_be_is_refused(
    make_translator: MakeTranslator, request_: Request | str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_translator(**options).translate_n_best([request_], first_number=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 4, "diverse_groups": 3}, "diverse_groups 3 does not divide beam_size 4"),
        ({"shortlist": True, "line_fields": "prefix"}, "set shortlist=false"),
        ({"diverse_groups": 2, "line_fields": "terms"}, "set term_bonus or diverse_groups=1"),
    ],
)
def test_options_that_exclude_each_other(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DecodingSection(**options)  # type: ignore[arg-type]
