"""A calibration is read back as it was written, holds for its own weights alone, and is checked before it is used."""

import json
import os
from pathlib import Path

import pytest

from transformer.decoding.translator import Translation
from transformer.errors import UserError
from transformer.run.calibration import CONFIDENCE_FILE, Calibration, log_prob_per_token, read_calibration

CALIBRATION = Calibration("abc", [-2.0, -1.0], [20.0, 60.0], "validation", 100)


def translation(log_prob: float, tokens: int) -> Translation:
    return Translation("x" * tokens, log_prob, log_prob, [7] * tokens)


def test_between_the_knots_are_straight_lines_and_beyond_them_nothing_changes() -> None:
    given = [translation(-6, 3), translation(-6.0, 2), translation(-6, 5), translation(-1.5, 0), translation(-0.1, 9)]
    assert [log_prob_per_token(each) for each in given[:3]] == [-1.5, -2, -1]
    assert CALIBRATION.confidences(given) == [40, 20, 60, 40, 60]
    assert CALIBRATION.confidences([translation(-90, 0)]) == [20]


def test_an_empty_sentence_is_translated_right() -> None:
    assert CALIBRATION.confidences([Translation("", 0.0, 0.0, [])]) == [100]


def test_written_and_read(tmp_path: Path) -> None:
    assert CALIBRATION.write(tmp_path) == tmp_path / CONFIDENCE_FILE
    assert read_calibration(tmp_path, "abc") == CALIBRATION
    with pytest.raises(UserError, match=r"made with other weights .* transformer calibrate"):
        read_calibration(tmp_path, "abd")


def test_without_one_the_verb_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file, and .* make it: transformer calibrate"):
        read_calibration(tmp_path, "abc")


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"log_probs": []},
        {"log_probs": [-2.0]},
        {"log_probs": [-1.0, -2.0]},
        {"log_probs": [-1.0, -1.0]},
        {"log_probs": ["-2", "-1"]},
        {"log_probs": [float("nan"), -1.0]},
        {"log_probs": [-(10**400), -1.0]},
        {"qualities": [60.0, 20.0]},
        {"qualities": [20.0, 101.0]},
        {"qualities": [-1.0, 60.0]},
        {"qualities": None},
        {"sentences": "many"},
        {"sentences": [1]},
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = CALIBRATION.write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(UserError, match=r"damaged \(.*make it anew"):
        read_calibration(tmp_path, "abc")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"format_version": 1}'])
def test_what_is_no_calibration_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CONFIDENCE_FILE).write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        read_calibration(tmp_path, "abc")


def test_a_link_and_a_pipe_are_refused(tmp_path: Path) -> None:
    CALIBRATION.write(tmp_path).rename(tmp_path / "elsewhere")
    (tmp_path / CONFIDENCE_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="symbolic link"):
        read_calibration(tmp_path, "abc")
    (tmp_path / CONFIDENCE_FILE).unlink()
    os.mkfifo(tmp_path / CONFIDENCE_FILE)
    with pytest.raises(UserError, match="a pipe or a device"):
        read_calibration(tmp_path, "abc")
