"""Text corpora: line n of one side stays beside line n of the other, and refusals name the line."""

import gzip
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.config import CorpusSection
from transformer.data.corpus import decode_lines, describe, file_hash, read_lines, read_pairs
from transformer.errors import UserError


def corpus(source: Path, target: Path) -> CorpusSection:
    return CorpusSection(source=str(source), target=str(target))


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        list(read_lines(path))
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


@pytest.mark.parametrize("name", ["text", "text.gz"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_plain_and_compressed_text_with_any_line_end(tmp_path: Path, name: str, end: bytes, mark: bytes) -> None:
    content = mark + end.join([b"one", b"", b" zwei drei ", "四".encode()])
    path = write(tmp_path / name, content)
    assert list(read_lines(path)) == ["one", "", " zwei drei ", "四"]
    assert list(read_lines(write(path, content + end))) == ["one", "", " zwei drei ", "四"]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\ufeff")), max_size=5))
def test_only_a_line_feed_ends_a_line(lines: list[str]) -> None:
    encoded = [line.encode() + b"\n" for line in lines]
    assert list(decode_lines(encoded, "text")) == lines


def test_stray_separators_inside_a_line_shift_nothing(tmp_path: Path) -> None:
    lines = ["a\rb", "c\u2028d", "e\x85f", "g\x0b\x0c\x1ch", "last"]
    source = write(tmp_path / "s", "".join(line + "\n" for line in lines).encode())
    target = write(tmp_path / "t", b"1\n2\n3\n4\n5\n")
    assert list(read_pairs([corpus(source, target)])) == list(zip(lines, "12345", strict=True))


def test_corpora_follow_one_another(tmp_path: Path) -> None:
    first = corpus(write(tmp_path / "s1", b"a\nb\n"), write(tmp_path / "t1", b"A\nB\n"))
    second = corpus(write(tmp_path / "s2.gz", b"c\n"), write(tmp_path / "t2", b"C\n"))
    assert list(read_pairs([first, second])) == [("a", "A"), ("b", "B"), ("c", "C")]


@pytest.mark.parametrize(("source_lines", "target_lines"), [(2, 5), (5, 2), (0, 1)])
def test_different_line_counts_are_told(tmp_path: Path, source_lines: int, target_lines: int) -> None:
    source = write(tmp_path / "s", b"a\n" * source_lines)
    target = write(tmp_path / "t", b"b\n" * target_lines)
    message = f"{source} has {source_lines} lines and {target} has {target_lines}; line n of one must be"
    with pytest.raises(UserError) as caught:
        list(read_pairs([corpus(source, target)]))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"fine\nab\xff\n", "2: not UTF-8 (byte 3 of the line is 0xff)"),
        (b"\xef\xbb\xbfab\xfe\n", "1: not UTF-8 (byte 3 of the line is 0xfe)"),
        (b"a\n\n\nb\n\xc3\n", "5: not UTF-8 (byte 1 of the line is 0xc3)"),
    ],
)
def test_invalid_utf8_names_line_and_byte(tmp_path: Path, content: bytes, place: str) -> None:
    assert f"{place}; convert the text" in refusal(write(tmp_path / "text", content))


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    draw = random.Random(1)
    whole = gzip.compress("".join(f"{draw.random()}\n" for _ in range(2000)).encode())
    path = tmp_path / "text.gz"
    path.write_bytes(whole[: len(whole) // 2])
    assert "cannot be read (Compressed file ended before" in refusal(path)
    path.write_bytes(b"plain text\n")
    assert "cannot be read (Not a gzipped file" in refusal(path)
    damaged = bytearray(whole)
    damaged[10] ^= 0x06  # the first block's type
    path.write_bytes(damaged)
    with pytest.raises(zlib.error):
        gzip.decompress(damaged)
    assert "cannot be read (Error -3 while decompressing" in refusal(path)


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    assert "no such file; check the path (relative to" in refusal(tmp_path / "none")
    assert "cannot be read (Is a directory)" in refusal(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        file_hash(tmp_path / "none")


def test_a_description_follows_the_content_alone(tmp_path: Path) -> None:
    source, target = write(tmp_path / "s", b"a\n"), write(tmp_path / "t", b"b\n")
    before = describe(corpus(source, target))
    assert describe(corpus(write(tmp_path / "elsewhere", b"a\n"), target)) == before
    assert describe(corpus(target, source)) != before
    assert describe(corpus(write(source, b"c\n"), target)) != before


def test_a_prefix_tells_a_corpus_apart(write_lines: Callable[[str, list[str]], Path]) -> None:
    files = {"source": str(write_lines("a.s", ["ein haus", ""])), "target": str(write_lines("a.t", ["a house", "x"]))}
    plain, tagged = CorpusSection(**files), CorpusSection(**files, source_prefix="<BT>")
    assert list(read_pairs([plain, tagged]))[2:] == [("<BT> ein haus", "a house"), ("", "x")]
    assert describe(plain) != describe(tagged)
    assert "source_prefix" not in describe(plain)  # what was prepared before keeps its name
