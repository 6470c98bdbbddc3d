"""`transformer translate`: one line out for one line in, from wherever the lines come."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import transformer
from transformer import load
from transformer.run.directory import RunDirectory
from transformer.tasks import translate

HOSTILE = [
    "",
    "Hund\tKatze",
    "a\r",
    "\u2028",
    "ganz andere Wörter 你好 🙂",
    "   ",
    "der " * 60,
    "x" * 300,
    "der Hund sieht",
]


class Standard:
    """What `sys.stdin` is to the program: bytes, and no terminal."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)

    def isatty(self) -> bool:
        return False


@pytest.fixture
def sources(tiny_project: Path) -> list[str]:
    return (tiny_project / "test.de").read_text("utf-8").splitlines()


@pytest.fixture
def expected(tiny_run: Path, sources: list[str]) -> list[str]:
    """The translations of the test sentences, one at a time."""
    translator = load(tiny_run)
    return [translator.translate([source])[0] for source in sources]


def test_the_sentences_differ_enough_to_tell_lines_apart(expected: list[str]) -> None:
    assert len(set(expected)) > 3


def test_arguments(output: Callable[..., str], tiny_run: Path, sources: list[str], expected: list[str]) -> None:
    assert output("translate", tiny_run, *sources).splitlines() == expected


def test_calibration_and_translations_are_of_one_checkpoint_though_best_moves_meanwhile(
    output: Callable[..., str], run_copy: Path, sources: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the run is still training."""
    opened = translate.open_calibration

    def open_and_move(*arguments: Any) -> Any:
        found = opened(*arguments)
        RunDirectory(run_copy).point("best", 20)
        return found

    monkeypatch.setattr(translate, "open_calibration", open_and_move)
    assert output("translate", run_copy, *sources).splitlines() == expected
    assert output("translate", run_copy, *sources).splitlines() != expected


@pytest.mark.parametrize("ending", ["plain", "gz", "crlf", "unfinished"])
def test_a_file(
    output: Callable[..., str], tiny_run: Path, tmp_path: Path, sources: list[str], expected: list[str], ending: str
) -> None:
    text = ("\r\n" if ending == "crlf" else "\n").join([*sources, ""]).encode()
    path = tmp_path / ("lines.gz" if ending == "gz" else "lines.txt")
    path.write_bytes({"gz": gzip.compress(text), "unfinished": text[:-1]}.get(ending, text))
    assert output("translate", tiny_run, "--input", path).splitlines() == expected


@pytest.mark.parametrize("batch_size", [1, 64])
def test_standard_input_in_chunks_larger_and_smaller_than_it(
    output: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tiny_run: Path,
    sources: list[str],
    expected: list[str],
    batch_size: int,
) -> None:
    monkeypatch.setattr("sys.stdin", Standard("".join(line + "\n" for line in sources * 2).encode()))  # 24 > 16 · 1
    assert output("translate", tiny_run, f"decoding.batch_size={batch_size}").splitlines() == expected * 2


def test_nothing_in_nothing_out(output: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tiny_run: Path) -> None:
    monkeypatch.setattr("sys.stdin", Standard(b""))
    assert output("translate", tiny_run) == ""


def test_an_empty_line_gives_an_empty_line(output: Callable[..., str], tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("\nder Hund\n\n\n")
    lines = output("translate", tiny_run, "--input", tmp_path / "lines").split("\n")
    assert [bool(line) for line in lines] == [False, True, False, False, False]
    assert output("translate", tiny_run, "") == "\n"


@pytest.mark.parametrize("n_best", [1, 2])
def test_strange_lines_never_break_the_count(
    output: Callable[..., str], tiny_run: Path, tmp_path: Path, n_best: int
) -> None:
    (tmp_path / "lines").write_bytes("".join(line + "\n" for line in HOSTILE).encode())
    arguments = (tiny_run, f"decoding.n_best={n_best}")
    from_file = output("translate", *arguments, "--input", tmp_path / "lines")
    assert from_file.endswith("\n")
    if n_best == 1:
        assert len(from_file.split("\n")) == len(HOSTILE) + 1
        assert output("translate", *arguments, *HOSTILE, "zwei\nZeilen").count("\n") == len(HOSTILE) + 1
    else:
        numbers = [int(line.split("\t")[0]) for line in from_file.split("\n")[:-1]]
        assert sorted(set(numbers)) == list(range(1, len(HOSTILE) + 1))
        assert numbers == sorted(numbers)


def test_n_best_lines(output: Callable[..., str], tiny_run: Path, sources: list[str], expected: list[str]) -> None:
    options = ("decoding.n_best=2", "decoding.beam_size=2")
    rows = [line.split("\t") for line in output("translate", tiny_run, *options, *sources).splitlines()]
    assert [row[:2] for row in rows] == [[str(n), rank] for n in range(1, len(sources) + 1) for rank in ("1", "2")]
    assert [row[3] for row in rows if row[1] == "1"] == expected
    for best, second in zip(rows[::2], rows[1::2], strict=True):
        assert float(best[2]) >= float(second[2])
        assert len(best[2].split(".")[1]) == 6
    found = [each for pair in load(tiny_run, *options).translate_n_best(sources) for each in pair]
    assert [(float(row[2]), row[3]) for row in rows] == [(pytest.approx(f.score, abs=2e-6), f.text) for f in found]


def test_samples(output: Callable[..., str], tiny_run: Path, tmp_path: Path, sources: list[str]) -> None:
    options = ("decoding.method=sample", "decoding.temperature=2", "decoding.n_best=5")
    rows = [line.split("\t") for line in output("translate", tiny_run, *options, *sources).splitlines()]
    assert [row[0] for row in rows] == [str(number) for number in range(1, len(sources) + 1) for _ in range(5)]
    assert len({row[3] for row in rows}) > len(sources)
    (tmp_path / "lines").write_text("".join(source + "\n" for source in sources[6:]), "utf-8")
    later = [
        line.split("\t") for line in output("translate", tiny_run, *options, "--input", tmp_path / "lines").splitlines()
    ]
    assert [row[3] for row in later] == [row[3] for row in rows[30:]]


def test_overrides_are_obeyed_wherever_they_stand(
    output: Callable[..., str], tiny_run: Path, sources: list[str]
) -> None:
    options = ("decoding.checkpoint=20", "decoding.beam_size=1")
    expected = load(tiny_run, *options).translate(sources)
    assert expected != load(tiny_run).translate(sources)
    assert output("translate", tiny_run, *options, *sources).splitlines() == expected
    assert output("translate", tiny_run, sources[0], options[0], *sources[1:], options[1]).splitlines() == expected
    checkpoint = tiny_run / "checkpoints" / "00000020"
    assert output("translate", checkpoint, options[1], *sources).splitlines() == expected


def test_what_follows_two_dashes_is_text(output: Callable[..., str], tiny_run: Path, sources: list[str]) -> None:
    texts = ["decoding.checkpoint=20", "--input", "--", "-h", "model.d_model=3"]
    expected = load(tiny_run).translate([*sources, *texts])
    assert output("translate", tiny_run, *sources, "--", *texts).splitlines() == expected
    assert output("translate", tiny_run, "--", *texts).splitlines() == expected[len(sources) :]


def test_a_sentence_that_is_cut_is_reported(command: Callable[..., Any], tiny_run: Path) -> None:
    outcome = command("translate", tiny_run, "decoding.max_source_length=3", "Hund", "der Hund sieht die Katze")
    assert outcome.code == 0
    assert outcome.err.startswith("warning: sentence 2: ")
    assert len(outcome.err.splitlines()) == 1


def test_standard_error_stays_empty(command: Callable[..., Any], tiny_run: Path) -> None:
    assert command("translate", tiny_run, "der Hund").err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a sentence", "--input", "lines.txt"], "give sentences or --input FILE, not both"),
        (["--input", "lines.txt", "--", "a sentence"], "give sentences or --input FILE, not both"),
        (["--input", "absent.txt"], "absent.txt: no such"),
        (["model.d_model=64", "a sentence"], "model.d_model=64: a trained run cannot change this"),
        (["training.max_updates=1"], "a trained run cannot change this"),
        (["decoding.beam_sise=3", "a sentence"], "did you mean beam_size?"),
        (["decoding.beam_size=0", "a sentence"], "decoding.beam_size"),
        (["decoding.n_best=9", "a sentence"], "n_best 9 is more than beam_size 2"),
        (["decoding.checkpoint=21", "a sentence"], "no such checkpoint; this run has 20, 40, 60, averaged"),
        (["decoding.checkpoint=../../x", "a sentence"], "decoding.checkpoint"),
        (["run.device=quantum", "a sentence"], "run.device"),
        (["in Latin-1: \udcfc"], "command line:1: not UTF-8"),
    ],
)
def test_refusals(refusal: Callable[..., str], tiny_run: Path, arguments: list[str], message: str) -> None:
    assert message in refusal("translate", tiny_run, *arguments)


def test_invalid_utf_8_names_its_line(
    refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tiny_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "lines").write_bytes(b"Hund\nKatze\n\xff\n")
    assert f"{tmp_path / 'lines'}:3: not UTF-8" in refusal("translate", tiny_run, "--input", tmp_path / "lines")
    monkeypatch.setattr("sys.stdin", Standard(b"Hund\n\xff\n"))
    assert "standard input:2: not UTF-8" in refusal("translate", tiny_run)


def test_a_reader_that_leaves_ends_it_quietly(tiny_run: Path, tmp_path: Path, expected: list[str]) -> None:
    lines = (tiny_run.parent / "test.de").read_text("utf-8") * 40
    (tmp_path / "lines").write_text(lines, "utf-8")
    program = [sys.executable, "-m", "transformer", "translate", str(tiny_run), "--input", str(tmp_path / "lines")]
    root = Path(transformer.__file__).parents[1]
    pipe = subprocess.PIPE
    with subprocess.Popen([*program, "decoding.batch_size=1"], cwd=root, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().decode().rstrip("\n") == expected[0]
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_load_is_the_same_from_python(tiny_run: Path, expected: list[str], sources: list[str]) -> None:
    assert load(tiny_run).translate(sources) == load(str(tiny_run), "run.device=cpu").translate(sources) == expected
    with pytest.raises(transformer.errors.UserError, match="no such run"):
        load("absent")


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_rounded_weights_translate_too(output: Callable[..., str], tiny_run: Path, precision: str) -> None:
    plain = output("translate", tiny_run, "der Hund sieht das Haus")
    assert output("translate", tiny_run, "der Hund sieht das Haus", f"decoding.precision={precision}") == plain


def test_terms_after_tabs_come(output: Callable[..., str], tiny_run: Path, sources: list[str], tmp_path: Path) -> None:
    terms = [("zebra", "Xylophone 7")[: number % 3] for number in range(len(sources))]
    (tmp_path / "lines").write_text("".join("\t".join(row) + "\n" for row in map(_row, sources, terms)), "utf-8")
    options = ("--input", tmp_path / "lines", "decoding.line_fields=terms")
    found = output("translate", tiny_run, *options).splitlines()
    plain = output("translate", tiny_run, *sources).splitlines()
    for text, own, before in zip(found, terms, plain, strict=True):
        assert all(term in text for term in own)
        assert own or text == before
    preferred = output("translate", tiny_run, *options, "decoding.term_bonus=0").splitlines()
    assert preferred == plain


def _row(source: str, terms: tuple[str, ...]) -> list[str]:
    return [source, *terms]


def test_a_prefix_after_a_tab_is_the_beginning(output: Callable[..., str], tiny_run: Path) -> None:
    lines = ["der Hund\tXylophone", "der Hund", "der Hund\t\tzebra"]
    found = output("translate", tiny_run, "decoding.line_fields=prefix_terms", *lines).splitlines()
    assert found[0].startswith("Xylophone") and not found[1].startswith("Xylophone") and "zebra" in found[2]


def test_token_scores_add_up(output: Callable[..., str], tiny_run: Path, sources: list[str]) -> None:
    options = ("decoding.token_scores=true", "decoding.length_penalty=none")
    for number, line in enumerate(output("translate", tiny_run, *options, *sources).splitlines(), 1):
        sentence, rank, score, text, pieces, values = line.split("\t")
        assert (int(sentence), rank) == (number, "1")
        assert "".join(pieces.split()).replace("▁", " ").strip() == text
        assert len(values.split()) == len(pieces.split()) + 1
        assert sum(map(float, values.split())) == pytest.approx(float(score), abs=5e-3)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("decoding.line_fields=prefix", "sentence 1: more than one tab"),
        ("decoding.diverse_groups=3", "diverse_groups 3 does not divide beam_size 2"),
    ],
)
def test_what_lines_cannot_ask_for(refusal: Callable[..., str], tiny_run: Path, option: str, message: str) -> None:
    assert message in refusal("translate", tiny_run, option, "der Hund\ta\tb")


def test_a_sentence_alone_waits_for_no_compiler(tiny_run: Path) -> None:
    """PyTorch's takes more than a second to import, and some of its operators import it unasked."""
    program = (
        "import sys; from transformer.cli import main; code = main(['translate', sys.argv[1], 'Hund']); "
        "sys.exit(code or [name for name in ('torch._dynamo', 'sympy', 'datasets') if name in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program, tiny_run], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
