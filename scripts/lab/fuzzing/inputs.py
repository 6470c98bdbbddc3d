"""Hypothesis strategies for odd files: valid files with changed bytes or structure, and some from scratch."""

from __future__ import annotations

import copy
import functools
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

ODD_BYTES = [
    *(b"", b"\0", b"\xff", b"\xed\xa0\x80", b"\xc3", b"\xef\xbb\xbf", b"\n", b"\r", b"\t", b'"', b"{", b"[[[[", b"}]"),
    *(b"-1", b"NaN", b"1e999", b"9" * 30, b"9" * 5000, b"\\ud800", b"\\u0000", "\u2028\x85\u202e".encode(), b"%", b":"),
    *(b"&a ", b"*a", b"? ", b"!!python/object/apply:os.system ", b"- - - ", b"../../x", b"/dev/zero", b"x" * 3000),
    *(b"[" * 2000, b'{"a":' * 2000, b"(" * 300, b"\x80" * 12, b"\x1b]0;x\x07", "é好😀ﬁ".encode(), b" " * 200, b"~"),
]  # fmt: skip
ODD_VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 3, 2**31, 2**63, -(2**63), 10**300, 10**4000, 0.5, -0.0, 1e308, float("nan")),
    *(float("inf"), "", "x", "../x", "\0", "\ud800", "\x1b[2J", "é" * 400, [], {}, [[]], [0, 0], {"a": {}}, ["a"] * 50),
    *("relu", "auto", "pandas", "rotary", "F32", "F64", "BOOL", "constant", "alibi", "average", "t5_bias", "learned"),
    *(2, 8, 16, 17, 64, 1000, 65_536, "best", "../best", "00000020", [1, 2], [0, 10**12], [2**40, 2**40]),
]
_SIZES = [1, 2, 4, 8, 64, 600]
_YAML_PARTS = [
    *("run:", "data:", "model:", " d_model: 8", "  ", "\n", "- ", "{", "}", "[", "]", ", ", ": ", "&a", "*a", "!!str "),
    *("'", '"', "|", ">", "#", "~", "? ", "% ", "@", "`", "<<: *a", "...", "---", "\t", "\ufeff"),
    *("é", "\\", "\u2028", "0x1f", "1_000", "1:30"),
]  # fmt: skip


class Valid(bytes):
    """The content of a valid file; its short repr keeps hypothesis from printing it."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


class Tree:
    """The parsed content of a valid file; has no repr for hypothesis to print."""

    def __init__(self, root: Any) -> None:
        self.root = root


@dataclass(frozen=True)
class Input:
    """An odd file: the kind of file it stands for, and its bytes."""

    kind: str
    content: bytes


@st.composite
def damaged(draw: Draw, content: Valid) -> bytes:
    """Bytes flipped, cut, deleted, repeated, moved and replaced."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place, size = draw(st.integers(0, len(data))), draw(st.sampled_from(_SIZES))
        kind = draw(st.sampled_from(["flip", "cut", "delete", "repeat", "insert", "replace", "move"]))
        part = bytes(data[place : place + size])
        if kind == "flip" and part:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[place:]
        elif kind == "delete":
            del data[place : place + size]
        elif kind == "repeat":
            data[place:place] = part * draw(st.sampled_from([1, 2, 50]))
        elif kind == "move":
            target = draw(st.integers(0, len(data)))
            data[target : target + size] = part
        else:
            data[place : place + (size if kind == "replace" else 0)] = draw(st.sampled_from(ODD_BYTES))
    return bytes(data)


@st.composite
def odd_tree(draw: Draw, tree: Tree) -> Any:
    """A tree of dicts and lists with one to three nodes replaced, removed, renamed, added, doubled or buried."""
    root = {"": copy.deepcopy(tree.root)}
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = root
        key: Any = ""
        while isinstance(holder[key], dict | list) and holder[key] and draw(st.integers(0, 9)):
            holder = holder[key]
            key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "bury", "swap"]))
        if kind == "remove" and holder is not root:
            del holder[key]
        elif kind == "rename" and isinstance(holder, dict) and holder is not root:
            holder[str(draw(st.sampled_from(ODD_VALUES)))[:50]] = holder.pop(key)
        elif kind == "bury":
            for _ in range(draw(st.sampled_from([1, 5, 40, 300]))):
                holder[key] = [holder[key]] if draw(st.booleans()) else {"a": holder[key]}
        else:
            holder[key] = copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))
    return root.get("")


def to_json(tree: Any) -> bytes:
    return json.dumps(tree).encode("utf-8", "surrogatepass")


@st.composite
def odd_json(draw: Draw, content: Valid) -> bytes:
    """A JSON file, as text or as a tree."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged(Valid(content)))  # type: ignore[no-any-return]
    return to_json(draw(odd_tree(Tree(json.loads(content)))))


@st.composite
def odd_yaml(draw: Draw, content: Valid) -> bytes:
    """A config: damaged as text, changed as a tree, or assembled from YAML syntax."""
    kind = draw(st.integers(0, 9))
    if kind <= 2:
        return draw(damaged(Valid(content)))  # type: ignore[no-any-return]
    if kind == 3:
        return "".join(draw(st.lists(st.sampled_from(_YAML_PARTS), max_size=30))).encode()
    tree = draw(odd_tree(_yaml_tree(content)))
    return to_json(tree) if kind == 4 else _plain_yaml(tree)


@functools.cache
def _yaml_tree(content: Valid) -> Tree:
    return Tree(yaml.safe_load(content))


def _plain_yaml(tree: Any) -> bytes:
    """One section per line, as people write it; values as JSON, a subset of YAML."""
    if not isinstance(tree, dict):
        return to_json(tree)
    return b"".join(str(key).encode("utf-8", "surrogatepass") + b": " + to_json(tree[key]) + b"\n" for key in tree)


@st.composite
def odd_tensors(draw: Draw, content: Valid) -> bytes:
    """A safetensors file, damaged, or with a changed header that may not fit the data."""
    length = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + length], content[8 + length :]
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(damaged(Valid(content)))  # type: ignore[no-any-return]
    if kind == 1:
        header = draw(damaged(Valid(header)))
    elif kind == 2:
        header = to_json(draw(st.dictionaries(st.text(max_size=5), st.sampled_from(ODD_VALUES), max_size=4)))
    elif kind <= 7:
        header = to_json(draw(odd_tree(Tree(json.loads(header)))))
    else:  # odd numbers as weights
        data = draw(st.sampled_from([b"\xff", b"\x7f\x80\0\0", b"\0"])) * len(data)
        data = data[: len(content) - 8 - length]
    length = draw(st.sampled_from([len(header)] * 6 + [0, 2**40, 2**63, len(header) + 1]))
    return int(length).to_bytes(8, "little") + header + data


@st.composite
def odd_message(draw: Draw, content: Valid) -> bytes:
    """A protocol buffer, damaged, or with changed, moved or repeated fields and correct lengths."""
    if draw(st.integers(0, 4)) == 0:
        return draw(damaged(Valid(content)))  # type: ignore[no-any-return]
    fields = _fields(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(fields) - 1))
        if draw(st.booleans()):  # most fields are pieces; prefer the few others
            place = draw(st.sampled_from([n for n, (number, _, _) in enumerate(fields) if number != 1] or [place]))
        number, wire, value = fields[place]
        kind = draw(st.sampled_from(["change", "change", "change", "remove", "double", "renumber", "swap"]))
        if kind == "remove":
            del fields[place]
        elif kind == "double":
            fields[place:place] = [fields[place]] * draw(st.sampled_from([1, 3, 30 if len(value) > 99 else 300]))
        elif kind == "renumber":
            fields[place] = (draw(st.sampled_from([1, 2, 3, 4, 5, 6, 35, 100])), wire, value)
        elif kind == "swap":
            other = draw(st.integers(0, len(fields) - 1))
            fields[place], fields[other] = fields[other], fields[place]
        else:
            fields[place] = (number, wire, draw(_odd_value(wire, Valid(value))))
        if not fields:
            return b""
    return b"".join(_encoded(field) for field in fields)


@st.composite
def _odd_value(draw: Draw, wire: int, value: Valid) -> bytes:
    if wire == 2:
        inner = _message(value)
        if inner and draw(st.integers(0, 3)):
            return draw(odd_message(Valid(value)))  # type: ignore[no-any-return]
        odd = draw(st.sampled_from([*ODD_BYTES, "▁".encode(), b"<0x41>", b"a" * 150_000]))
        return odd if draw(st.booleans()) else draw(damaged(Valid(value)))  # type: ignore[no-any-return]
    if wire == 0:
        return _varint(draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 100, 2**31, 2**63, 2**64 - 1])))
    return draw(st.binary(min_size=len(value), max_size=len(value)))  # type: ignore[no-any-return]


Field = tuple[int, int, bytes]


def _message(content: bytes) -> list[Field]:
    """The fields, or none if these bytes are not a message."""
    try:
        return _fields(content)
    except (IndexError, ValueError):
        return []


def _fields(content: bytes) -> list[Field]:
    fields, place = list[Field](), 0
    while place < len(content):
        key, place = _read_varint(content, place)
        wire, start = key & 7, place
        if wire == 0:
            _, place = _read_varint(content, place)
        elif wire == 2:
            size, start = _read_varint(content, place)
            place = start + size
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place > len(content):
            raise ValueError("a field ends after its message")
        fields.append((key >> 3, wire, content[start:place]))
    return fields


def _encoded(field: Field) -> bytes:
    number, wire, value = field
    return _varint(number << 3 | wire) + (_varint(len(value)) if wire == 2 else b"") + value


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (content[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if content[place - 1] < 128:
            return value, place


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


@st.composite
def odd_lines(draw: Draw, content: Valid) -> bytes:
    """Text: damaged, or lines of odd characters and bytes."""
    if draw(st.booleans()):
        return draw(damaged(Valid(content)))  # type: ignore[no-any-return]
    line = st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass"))
    parts = draw(st.lists(line | st.sampled_from(ODD_BYTES) | st.binary(max_size=12), max_size=8))
    return draw(st.sampled_from([b"\n", b"\r\n", b"\t", b"\t\n"])).join(parts)  # type: ignore[no-any-return]


@st.composite
def odd_records(draw: Draw, content: Valid) -> bytes:
    """JSON lines, one of them odd as text or as a tree."""
    lines = content.splitlines()
    place = draw(st.integers(0, len(lines) - 1))
    lines[place] = draw(odd_json(Valid(lines[place])))
    return draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b""])).join(lines)  # type: ignore[no-any-return]


@st.composite
def odd_gzip(draw: Draw, content: Valid, plain: Callable[[Valid], st.SearchStrategy[bytes]]) -> bytes:
    """A gzip file: odd inside, damaged outside, or a small file that expands to a huge one."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        packer = zlib.compressobj(9, wbits=31)
        return packer.compress(draw(st.sampled_from([b"a", b"\0", b"a" * 99 + b"\n"])) * 300_000) + packer.flush()
    if kind <= 4:
        return draw(damaged(Valid(content)))  # type: ignore[no-any-return]
    return gzip.compress(draw(plain(Valid(gzip.decompress(content)))), compresslevel=1, mtime=0)
