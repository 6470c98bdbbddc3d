"""scripts/lab/paper_bleu.py: its figure is BLEU of Moses' tokens, and it says so."""

import sys
from pathlib import Path

import pytest
import sacrebleu

import paper_bleu

REFERENCES = ['Der Mann sagt z.B.: "Ja, 3.5 Hunde!"', "Ein Fuß-Ball liegt auf dem Gras.", "Zwei Frauen gehen weg."]
HYPOTHESES = ["Der mann sagt z.B.: „Ja, 3.5 Hunde!“", "Ein Fußball liegt auf dem Gras.", "Zwei Frauen gehen."]
TOKENIZED = (
    ["der mann sagt z.b. : &quot; ja , 3.5 hunde ! &quot;", "ein fußball liegt auf dem gras .", "zwei frauen gehen ."],
    [
        "der mann sagt z.b. : &quot; ja , 3.5 hunde ! &quot;",
        "ein fuß-ball liegt auf dem gras .",
        "zwei frauen gehen weg .",
    ],
)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, lines in (("own.de", HYPOTHESES), ("test.de", REFERENCES)):
        (tmp_path / name).write_text("\n".join(lines) + "\n", "utf-8")
    return [str(tmp_path / "own.de"), str(tmp_path / "test.de"), "--language", "de"]


def test_the_figure(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert paper_bleu.main(files) == 0
    text = capsys.readouterr().out
    own, references = TOKENIZED
    expected = sacrebleu.corpus_bleu(own, [references], tokenize="none", force=True).score
    assert text.startswith(f"BLEU {expected:.2f}  nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|version:")
    assert (
        f"sacremoses {paper_bleu.importlib.metadata.version('sacremoses')}, sacrebleu {sacrebleu.__version__}" in text
    )
    assert "never with sacreBLEU's scores" in text
    assert f"{expected:.2f}" != f"{sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score:.2f}"


def test_of_several_files_come_mean_and_deviation(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    perfect = tmp_path / "perfect.de"
    perfect.write_text("\n".join(REFERENCES) + "\n", "utf-8")
    assert paper_bleu.main([files[0], str(perfect), *files[1:]]) == 0
    text = capsys.readouterr().out
    own, references = TOKENIZED
    score = sacrebleu.corpus_bleu(own, [references], tokenize="none", force=True).score
    mean, deviation = (score + 100) / 2, (100 - score) / 2**0.5
    assert f"mean of 2: {mean:.2f}, standard deviation {deviation:.2f}" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("BLEU")] == [f"{score:.2f}", "100.00"]


def test_what_moses_makes_of_a_sentence() -> None:
    prepare = paper_bleu.moses("de")
    assert [prepare(line) for line in HYPOTHESES] == TOKENIZED[0]
    assert [prepare(line) for line in REFERENCES] == TOKENIZED[1]


def test_other_counts_and_a_missing_package_are_one_line(
    files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    assert paper_bleu.main(files) == 2
    assert capsys.readouterr().err == "error: this needs the package sacremoses: pip install sacremoses\n"
    (tmp_path / "own.de").write_text("a\n", "utf-8")
    assert paper_bleu.main(files) == 2
    assert capsys.readouterr().err == f"error: {files[0]}: 1 lines for 3 in {files[1]}\n"
