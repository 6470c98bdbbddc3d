"""transformer align, heads, decoding.masked_heads and translate --attention on a tiny trained run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SENTENCE = "der Hund sieht das Haus"


@pytest.fixture
def pair(tmp_path: Path, output: Callable[..., str], tiny_run: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text(f"{SENTENCE}\n\n{SENTENCE}\n")
    target.write_text(output("translate", tiny_run, "--input", source))
    return source, target


def test_a_line_for_each_pair(
    command: Callable[..., Any], tiny_run: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    source, target = pair
    gold = tmp_path / "gold"
    outcome = command("align", tiny_run, "--source", source, "--target", target)
    first, empty, third = outcome.out.splitlines()
    assert first == third
    assert empty == ""
    words = len(target.read_text().splitlines()[0].split())
    assert sorted(int(link.split("-")[1]) for link in first.split()) == list(range(words))
    gold.write_text(outcome.out)
    again = command("align", tiny_run, "--source", source, "--target", target, "--gold", gold)
    assert "alignment error rate 0.0000, 3 sentences, layer 0" in again.err
    links = len(outcome.out.split())
    gold.write_text(outcome.out.replace(first, f"{first} 900-900", 1))  # a link that is missed
    missed = command("align", tiny_run, "--source", source, "--target", target, "--gold", gold)
    assert f"alignment error rate {1 - 2 * links / (2 * links + 1):.4f}" in missed.err


@pytest.mark.parametrize(
    ("gold", "layer", "message"),
    [
        ("0-0\n", "0", "has 1 lines and"),
        ("0-0\n1:1\n\n", "0", "gold:2: '1:1' is no link"),
        ("\n\n\n", "9", "--layer 9: the decoder has layers 0 to"),
    ],
)
def test_what_does_not_fit_is_refused(
    refusal: Callable[..., str],
    tiny_run: Path,
    pair: tuple[Path, Path],
    tmp_path: Path,
    gold: str,
    layer: str,
    message: str,
) -> None:
    (tmp_path / "gold").write_text(gold)
    files = "--source", pair[0], "--target", pair[1], "--gold", tmp_path / "gold"
    assert message in refusal("align", tiny_run, *files, "--layer", layer)


def test_heads_and_what_masking_one_does(
    output: Callable[..., str], tiny_run: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """Without cross-attention a translation is as likely for any source."""
    files = "--source", pair[0], "--target", pair[1]
    header, *rows = output("heads", tiny_run, *files).splitlines()
    assert header.split("\t") == ["head", "entropy", "distance", "largest_weight"]
    names = [row.split("\t")[0] for row in rows]
    assert {"encoder.0.0", "decoder.0.0", "cross.0.0"} <= set(names)
    masked = f"decoding.masked_heads=[{', '.join(name for name in names if name.startswith('cross'))}]"
    (tmp_path / "other").write_text("ein Baum\n\ndie Katze\n")
    others = "--source", tmp_path / "other", "--target", pair[1]
    assert output("score", tiny_run, *others) != output("score", tiny_run, *files)
    assert output("score", tiny_run, *others, masked) == output("score", tiny_run, *files, masked)


def test_a_head_that_is_not_there(refusal: Callable[..., str], tiny_run: Path) -> None:
    line = refusal("translate", tiny_run, SENTENCE, "decoding.masked_heads=[cross.77.0]")
    assert "this model has no cross.77.0; transformer heads RUN lists them" in line
    assert "masked_heads" in refusal("translate", tiny_run, SENTENCE, "decoding.masked_heads=[decoder]")


def test_translate_writes_the_maps_of_what_it_prints(
    output: Callable[..., str], tiny_run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "maps.json"
    text = output("translate", tiny_run, "--attention", path, SENTENCE, "")
    first, empty = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    assert "".join(first["target"][:-1]).replace("▁", " ").strip() == text.splitlines()[0]
    assert first["source"][-1] == first["target"][-1] == "</s>"
    head = first["maps"]["cross.0"][0]
    assert (len(head), len(head[0])) == (len(first["target"]), len(first["source"]))
    assert all(sum(row) == pytest.approx(1, abs=0.01) for row in head)
    assert empty["source"] == ["</s>"]
