"""Build the sdist and the wheel, install the wheel in a fresh environment outside the checkout, and test it there.

    python scripts/lab/release.py dist

The last step of `make release`. Builds the wheel from the sdist, so both are complete, and installs the versions that
constraints.txt pins. Uploads nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from transformer import __version__
from transformer.errors import UserError
from transformer.runtime.command import refusals_in_one_line

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTION = "transformer-mt"
_WORDS = {"der": "the", "ein": "a", "Hund": "dog", "Haus": "house", "rot": "red", "groß": "big", "sieht": "sees"}
_CONFIG = """
run: {directory: run, device: cpu, threads: 1}
data:
  source_language: de
  target_language: en
  prepared_directory: prepared
  train: {source: train.de, target: train.en}
  validation: {source: validation.de, target: validation.en}
  test: {source: test.de, target: test.en}
tokenizer: {vocab_size: 285}
model: {preset: tiny, d_model: 32, d_ff: 64, num_heads: 2, num_encoder_layers: 1, num_decoder_layers: 1}
training: {max_updates: 20, batch_tokens: 256, schedule: constant, learning_rate: 0.01, warmup_updates: 1}
validation: {every: 10}
"""


@refusals_in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", type=Path, help="folder for the two files")
    directory = parser.parse_args().directory.resolve()
    sdist, wheel = build(directory)
    for archive in (sdist, wheel):
        if differences := content_differences(archive):
            raise UserError(f"{archive.name}: {'; '.join(differences)}")
    with tempfile.TemporaryDirectory() as folder:
        binaries = install(wheel, Path(folder) / "environment")
        place = Path(folder) / "elsewhere"
        place.mkdir()
        for line in try_out([str(binaries / "transformer")], place):
            print(line)
    print(f"built and tried: {sdist}\nbuilt and tried: {wheel}")
    if lines := unreleased_changes((ROOT / "CHANGELOG.md").read_text("utf-8")):
        print(f"before you upload {__version__}: give the {lines} lines under Unreleased in CHANGELOG.md a version")
    return 0


def build(directory: Path) -> tuple[Path, Path]:
    """Build both files into a folder; returns the sdist and the wheel.

    Raises:
        UserError: the build fails.
    """
    _finish([sys.executable, "-m", "build", "--outdir", str(directory), str(ROOT)], ROOT)
    stem = f"{DISTRIBUTION.replace('-', '_')}-{__version__}"
    return directory / f"{stem}.tar.gz", directory / f"{stem}-py3-none-any.whl"


def content_differences(archive: Path, package: Path = ROOT / "transformer") -> list[str]:
    """Files of a package that an sdist or wheel lacks, and files of a wheel outside the package and its metadata."""
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected = {path.relative_to(package.parent).as_posix() for path in files}
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            found = {name for name in wheel.namelist() if ".dist-info/" not in name}
        foreign = found - expected
    else:
        with tarfile.open(archive) as sdist:
            found = {name.partition("/")[2] for name in sdist.getnames()}  # all are in a folder named by the version
        foreign = set()
    return [f"lacks {name}" for name in sorted(expected - found)] + [f"has {name} too" for name in sorted(foreign)]


def install(wheel: Path, environment: Path) -> Path:
    """Install a wheel with the extra `report` into a new virtual environment; returns the folder of its programs."""
    _finish([sys.executable, "-m", "venv", str(environment)], ROOT)
    binaries = environment / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(binaries / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _finish([*pip, "--constraint", str(ROOT / "constraints.txt"), f"{wheel}[report]"], environment)
    return binaries


def try_out(command: Sequence[str], place: Path, paths: Iterable[Path] = ()) -> Iterator[str]:
    """Train, translate, evaluate and report with an installed package, in an empty folder; yields a line per step.

    Args:
        command: starts `transformer`.
        paths: content of PYTHONPATH, replacing the caller's own.

    Raises:
        UserError: a verb fails, or does not do what it should.
    """
    write_corpora(place)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    trials = {
        ("--version",): f"{__version__}\n",
        ("--help",): "usage: transformer",
        ("config", "show", "config.yaml", "model.preset=modern"): "preset: modern",
        ("train", "config.yaml"): "",
        ("translate", "run", "der Hund"): "\n",
        ("evaluate", "run"): "BLEU",
        ("report", "run", "--output", "report.html", "--png", "plots"): "",
        ("verify", "run"): "",
    }
    for arguments, expected in trials.items():
        printed = _finish([*command, *arguments], place, environment)
        if expected not in printed:
            raise UserError(f"transformer {' '.join(arguments)}: printed no {expected!r}, but {printed[-500:]!r}")
        yield f"works: transformer {' '.join(arguments)}"
    for made in ("run/last", "run/card.md", "report.html"):
        if not (place / made).is_file():
            raise UserError(f"{made}: was not written")
    if not list((place / "plots").glob("*.png")):
        raise UserError("plots: no plot was written")


def write_corpora(place: Path) -> None:
    """Write a config, and corpora of an artificial language in which each word has one translation."""
    (place / "config.yaml").write_text(_CONFIG, "utf-8")
    sentences = list(itertools.permutations(_WORDS, 3))  # 210
    for split, chosen in (("train", sentences[20:]), ("validation", sentences[:10]), ("test", sentences[10:20])):
        translations = [[_WORDS[word] for word in words] for words in chosen]
        for side, lines in (("de", chosen), ("en", translations)):
            (place / f"{split}.{side}").write_text("".join(" ".join(words) + "\n" for words in lines), "utf-8")


def unreleased_changes(changelog: str) -> int:
    """The number of lines under the heading Unreleased in a changelog."""
    _, _, after = changelog.partition("\n## Unreleased")
    return sum(bool(line.strip()) for line in after.partition("\n## ")[0].splitlines()[1:])


def _finish(command: Sequence[str], place: Path, environment: dict[str, str] | None = None) -> str:
    """Run a program; returns its standard output.

    Raises:
        UserError: it fails; the message has its last lines.
    """
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, encoding="utf-8")
    if done.returncode:
        last = " | ".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise UserError(f"{' '.join(command)}: exit code {done.returncode}: {last}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
