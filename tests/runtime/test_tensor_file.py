"""A header that disagrees with its file or with what is wanted is refused before the tensors are read."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transformer.runtime import tensor_file
from transformer.runtime.tensor_file import Shapes, read_tensor_file

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool, torch.int8)


def entry(shape: Any, offsets: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def write(path: Path, header: object, data: bytes) -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + data)
    return path


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.tuples(st.lists(st.integers(0, 4), max_size=3), st.sampled_from(DTYPES)),
        max_size=4,
    )
)
def test_whatever_safetensors_writes_is_accepted(tmp_path: Path, made: dict[str, Any]) -> None:
    tensors = {name: torch.ones(shape, dtype=dtype) for name, (shape, dtype) in made.items()}
    path = tmp_path / "file"
    path.write_bytes(safetensors.torch.save(tensors, {"made": "here"}))
    seen = list[Shapes]()
    assert read_tensor_file(path, seen.append) == path.read_bytes()
    assert seen == [{name: tuple(shape) for name, (shape, _) in made.items()}]


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"w": entry([2], [0, 8])}, 12, "tells of 8 bytes of tensors, and the file holds 12"),
        ({"w": entry([2], [0, 8])}, 4, "tells of 8 bytes of tensors, and the file holds 4"),
        ({"w": entry([3], [0, 8])}, 8, "a place that does not fit its shape"),
        ({"w": entry([1], [4, 8])}, 8, "gaps between tensors"),
        ({"w": entry([2], [0, 8]), "v": entry([2], [0, 8])}, 8, "lays one over another"),
        ({"w": entry([-2], [8, 0])}, 8, "impossible"),
        ({"w": entry([2.0], [0, 8])}, 8, "impossible"),
        ({"w": entry([True, 2], [0, 8])}, 8, "impossible"),
        ({"w": entry([2**50, 0], [0, 0])}, 0, "impossible"),
        ({"w": entry([1] * 9, [0, 4])}, 4, "impossible"),
        ({"w": entry([2], [0])}, 8, "impossible"),
        ({"w": entry([2], [0, 8], "PICKLE")}, 8, "impossible"),
        ({"w": entry([2], [0, 8], ["F32"])}, 8, "impossible"),
        ({"w": {"dtype": "F32"}}, 8, "no dtype, shape and data_offsets"),
        ({"w": 3}, 8, "no dtype, shape and data_offsets"),
        ([], 0, "no JSON object"),
        (b'{"w": 1, "w": 2}', 0, "names something twice"),
        (b"\xff", 0, "not UTF-8"),
        (b"[" * 99_999, 0, "nested too deep"),
    ],
)
def test_a_header_that_cannot_be(tmp_path: Path, header: object, data: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_tensor_file(write(tmp_path / "file", header, bytes(data)))


@pytest.mark.parametrize("start", [b"", b"\0" * 7, (2**63).to_bytes(8, "little"), b"\x80\x04\x95abcdefgh"])
def test_a_file_that_begins_with_no_header(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "file").write_bytes(start)
    with pytest.raises(ValueError, match="begins with no header"):
        read_tensor_file(tmp_path / "file")


def test_a_refusal_comes_before_the_tensors_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "file", {"w": entry([2**36], [0, 2**38])}, b"")
    os.truncate(path, path.stat().st_size + 2**38)  # sparse: takes no space, but no memory would hold it

    def refuse(shapes: Shapes) -> None:
        raise KeyError(*shapes)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyError, match="w"):
        patch.setattr(tensor_file, "physical_memory", lambda: None)
        read_tensor_file(path, refuse)


def test_a_file_larger_than_the_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "file", {"w": entry([2], [0, 8])}, bytes(8))
    monkeypatch.setattr(tensor_file, "physical_memory", lambda: 50)
    with pytest.raises(OSError, match=re.escape("too large: more than 50 bytes")):
        read_tensor_file(path)
