"""`transformer evaluate` and its script: figures with signatures, of a run or of a file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sacrebleu

from transformer import load
from transformer.run.directory import RunDirectory
from transformer.tasks import evaluate

# as the real one is called; a quarter for each sentence
COMET_SCORE = """
import json, pathlib, sys
given = dict(zip(sys.argv[1:], sys.argv[2:]))
lines = pathlib.Path(given["-t"]).read_text("utf-8").splitlines()
pathlib.Path(given["--to_json"]).write_text(json.dumps({given["-t"]: [{"mt": line, "COMET": 0.25} for line in lines]}))
"""
ROOT = Path(__file__).resolve().parents[2]


def read(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


@pytest.mark.parametrize("split", ["test", "validation", "train"])
def test_the_figures_are_those_of_sacrebleu(
    command: Callable[..., Any], tiny_run: Path, tiny_project: Path, split: str
) -> None:
    outcome = command("evaluate", tiny_run, "--split", split, "decoding.beam_size=1")
    assert outcome.code == 0
    references = [read(tiny_project / f"{split}.en")]
    hypotheses = load(tiny_run, "decoding.beam_size=1").translate(read(tiny_project / f"{split}.de"))
    figures = {
        "BLEU": sacrebleu.corpus_bleu(hypotheses, references).score,
        "chrF2++": sacrebleu.corpus_chrf(hypotheses, references, word_order=2).score,
        "TER": sacrebleu.corpus_ter(hypotheses, references).score,
    }
    first, *rest = outcome.out.splitlines()
    assert first == f"{split}: {len(hypotheses)} sentences"
    assert [line.split()[:2] for line in rest] == [[name, f"{value:.2f}"] for name, value in figures.items()]
    assert all(f"|version:{sacrebleu.__version__}" in line for line in rest)


def test_the_default_split_is_test(output: Callable[..., str], tiny_run: Path) -> None:
    assert output("evaluate", tiny_run) == output("evaluate", tiny_run, "--split", "test")


def test_other_files(output: Callable[..., str], tiny_run: Path, tiny_project: Path) -> None:
    source, reference = tiny_project / "test.de", tiny_project / "test.en"
    _, *scores = output("evaluate", tiny_run, "--source", source, "--reference", reference).splitlines()
    assert scores == output("evaluate", tiny_run).splitlines()[1:]


def test_a_file_named_like_a_split_is_not_taken_for_it(
    output: Callable[..., str], run_copy: Path, tiny_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_project / "validation.de", "test")
    reference = tiny_project / "validation.en"
    text = output("evaluate", run_copy, "--source", "test", "--reference", reference, "--record")
    assert text.startswith("./test: ")
    assert not (run_copy / "evaluations" / "test.json").exists()


def test_hypotheses_are_scored_as_they_are(output: Callable[..., str], tiny_run: Path, tiny_project: Path) -> None:
    text = output("evaluate", tiny_run, "--hypotheses", tiny_project / "test.en")
    assert [line.split()[:2] for line in text.splitlines()[1:]] == [
        ["BLEU", "100.00"],
        ["chrF2++", "100.00"],
        ["TER", "0.00"],
    ]


def test_files_of_translations_and_scores(
    output: Callable[..., str], tiny_run: Path, tiny_project: Path, tmp_path: Path
) -> None:
    text = output(
        "evaluate",
        tiny_run,
        "decoding.beam_size=1",
        "--output",
        tmp_path / "out.en",
        "--json",
        tmp_path / "scores.json",
    )
    assert read(tmp_path / "out.en") == load(tiny_run, "decoding.beam_size=1").translate(read(tiny_project / "test.de"))
    assert output("evaluate", tiny_run, "--hypotheses", tmp_path / "out.en") == text
    report = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert (report["run"], report["corpus"], report["sentences"]) == (str(tiny_run), "test", 12)
    assert report["decoding"]["beam_size"] == 1
    shown = [
        "{name} {value:.2f} (μ = {bootstrap_mean:.2f} ± {bootstrap_half_width:.2f})  {signature}".format(**score)
        for score in report["scores"]
    ]
    assert shown == text.splitlines()[1:]
    assert all("|bs:1000|seed:12345|" in score["signature"] for score in report["scores"])


def test_intervals_can_be_left_out(output: Callable[..., str], tiny_run: Path) -> None:
    with_them, without = (output("evaluate", tiny_run, "--resamples", number) for number in ("100", "0"))
    assert "|bs:100|" in with_them and "|bs:" not in without and "±" not in without
    figures = [[line.split()[:2] for line in text.splitlines()[1:]] for text in (with_them, without)]
    assert figures[0] == figures[1]


def test_a_breakdown_is_printed_and_written(
    output: Callable[..., str], command: Callable[..., Any], tiny_run: Path, tiny_project: Path, tmp_path: Path
) -> None:
    lines = read(tiny_project / "test.en")
    (tmp_path / "faulty.en").write_text("\n".join(["", *lines[1:]]) + "\n", "utf-8")
    arguments = "evaluate", tiny_run, "--hypotheses", tmp_path / "faulty.en", "--breakdown"
    text = output(*arguments, "--json", tmp_path / "scores.json")
    report = json.loads((tmp_path / "scores.json").read_text("utf-8"))["breakdown"]
    assert report["defects"][0] == {"name": "empty", "meaning": "nothing was written", "count": 1, "first": [1]}
    assert sum(bucket["sentences"] for bucket in report["by_length"]) == 12
    # all words of the generated test set are common in training
    assert [bucket["sentences"] for bucket in report["by_rarity"]] == [12, 0, 0, 0, 0]
    assert "empty                 1  1  (nothing was written)" in text
    absent = command(*arguments, "data.train={source: absent, target: absent}")
    assert absent.code == 0 and "source words that training saw" not in absent.out
    assert "no figures by rarity: the training corpus is not at hand (absent: no such file" in absent.err


def test_comet_is_asked_of_the_users_own_program(
    output: Callable[..., str],
    refusal: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tiny_run: Path,
    tiny_project: Path,
    tmp_path: Path,
) -> None:
    arguments = "evaluate", tiny_run, "--hypotheses", tiny_project / "test.en", "--comet", tmp_path / "model.ckpt"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "comet-score: no such program" in refusal(*arguments)
    (tmp_path / "comet-score").write_text(f"#!{sys.executable}\n{COMET_SCORE}")
    (tmp_path / "comet-score").chmod(0o755)
    assert "model.ckpt: no such file" in refusal(*arguments)
    (tmp_path / "model.ckpt").touch()
    text = output(*arguments, "--json", tmp_path / "scores.json")
    assert "COMET 0.2500  model:model.ckpt|sha256:e3b0c44298fc1c14" in text
    assert json.loads((tmp_path / "scores.json").read_text("utf-8"))["comet"]["sentences"] == [0.25] * 12


@pytest.mark.parametrize(("wanted", "shown"), [(1, 1), (5, 5), (12, 12), (50, 12)])
def test_samples_are_shown_in_threes(
    output: Callable[..., str], tiny_run: Path, tiny_project: Path, wanted: int, shown: int
) -> None:
    text = output("evaluate", tiny_run, "--hypotheses", tiny_project / "validation.en", "--samples", str(wanted))
    blocks = [block.splitlines() for block in text.split("\n\n")[:-1]]
    assert len(blocks) == shown
    triples = list(zip(*(read(tiny_project / name) for name in ("test.de", "test.en", "validation.en")), strict=True))
    found = [tuple(line.split(maxsplit=1)[1] for line in block) for block in blocks]
    places = [triples.index(triple) for triple in found]
    assert places == sorted(set(places))


def test_the_script_is_the_verb(output: Callable[..., str], tiny_run: Path) -> None:
    program = [sys.executable, "scripts/evaluate.py", str(tiny_run), "--split", "validation"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == output("evaluate", tiny_run, "--split", "validation")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "test.de"], "--source and --reference belong together"),
        (["--reference", "test.en"], "--source and --reference belong together"),
        (["--source", "test.de", "--reference", "train.en"], "test.de has 12 lines and"),
        (["--hypotheses", "train.en"], "300 hypotheses for 12 references"),
        (["--hypotheses", "pieces.en"], "still has the subword mark"),
        (["--hypotheses", "absent.en"], "absent.en: no such"),
        (["--source", "empty", "--reference", "empty"], "the references are empty"),
        (["--output", "empty/out.en"], "cannot be written"),
        (["--resamples", "5"], "--resamples 5: give 100 to 100000, or 0 for no intervals"),
        (["nonsense"], "nonsense: an override reads section.key=value"),
        (["model.d_ff=3"], "a trained run cannot change this"),
    ],
)
def test_refusals(
    refusal: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tiny_run: Path,
    tiny_project: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    for name in ("test.de", "test.en", "train.en"):
        (tmp_path / name).write_bytes((tiny_project / name).read_bytes())
    (tmp_path / "pieces.en").write_text("▁the ▁dog\n" * 12, "utf-8")
    (tmp_path / "empty").touch()
    monkeypatch.chdir(tmp_path)
    assert message in refusal("evaluate", tiny_run, *arguments)


def test_a_run_without_a_test_corpus_says_what_to_do(refusal: Callable[..., str], run_copy: Path) -> None:
    assert "give --source and --reference" in refusal("evaluate", run_copy, "data.test=[]")


def test_what_was_scored_is_named_though_best_moves_meanwhile(
    output: Callable[..., str], run_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the run is still training."""
    directory = RunDirectory(run_copy)
    scored = directory.resolve("best").name
    translate = evaluate.translate_set

    def translate_and_move(*arguments: Any) -> Any:
        found = translate(*arguments)
        directory.point("best", 20)
        return found

    monkeypatch.setattr(evaluate, "translate_set", translate_and_move)
    output("evaluate", run_copy, "--json", tmp_path / "scores.json")
    assert directory.resolve("best").name == "00000020" != scored
    assert json.loads((tmp_path / "scores.json").read_text())["checkpoint"] == scored
