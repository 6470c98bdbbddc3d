import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

SENTENCE = "der Hund sieht das Haus"


@pytest.fixture
def own_run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_learned_once_and_used(output: Callable[..., str], own_run: Path) -> None:
    plain = output("translate", own_run, SENTENCE)
    assert output("shortlist", own_run) == f"{own_run / 'shortlist.safetensors'}\n"
    assert output("translate", own_run, "decoding.shortlist=true", SENTENCE) == plain
    # one candidate a piece and one frequent piece leave no room for the same translation of other words
    output("shortlist", own_run, "--candidates", "1", "--frequent", "1", "--pairs", "3")
    assert output("translate", own_run, "decoding.shortlist=true", SENTENCE) != plain
    assert output("translate", own_run / "checkpoints" / (own_run / "best").read_text().strip(), SENTENCE) == plain


def test_without_one_the_verb_is_named(refusal: Callable[..., str], own_run: Path) -> None:
    line = refusal("translate", own_run, "decoding.shortlist=true", SENTENCE)
    assert line.endswith(f"decoding.shortlist=true needs it; make it: transformer shortlist {own_run}")


@pytest.mark.parametrize("name", ["candidates", "frequent", "pairs"])
def test_numbers_must_be_positive(refusal: Callable[..., str], own_run: Path, name: str) -> None:
    assert refusal("shortlist", own_run, f"--{name}", "0") == f"error: --{name} 0: must be at least 1"


def test_a_corpus_that_gives_another_tokenizer_is_refused(
    refusal: Callable[..., str], own_run: Path, tmp_path: Path
) -> None:
    for side in ("source", "target"):
        words = [f"{''.join(letters)} {side}" for letters in itertools.permutations("abcdefg", 4)]
        (tmp_path / side).write_text("\n".join(words) + "\n")
    corpus = f"data.train={{source: {tmp_path / 'source'}, target: {tmp_path / 'target'}}}"
    line = refusal("shortlist", own_run, corpus, f"data.prepared_directory={tmp_path / 'prepared'}")
    assert "its training corpus is no longer what it was, and gives another tokenizer" in line
    assert not (own_run / "shortlist.safetensors").exists()
