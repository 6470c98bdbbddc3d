"""Measure preparing and training over corpus size, and decoding over batch size and sentence length.

    python scripts/lab/scaling.py CONFIG RUN FOLDER [--pairs 10000 100000 1000000 5000000]

CONFIG names a parallel text in plain files, which is repeated and perturbed up to each size; separate processes prepare
and train each size. RUN is a trained run for decoding. Writes scaling.json and scaling.png into FOLDER; the corpora go
to a temporary folder inside it (5,000,000 pairs of Multi30k take about 2 GB). Needs matplotlib
(`pip install matplotlib`). Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.preparing import tokenizer_files
from transformer.config import Config, load_config
from transformer.data.corpus import read_pairs
from transformer.data.prepare import prepare
from transformer.errors import UserError
from transformer.run.run import Run
from transformer.runtime.command import refusals_in_one_line
from transformer.runtime.files import json_bytes, write_file
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.translators import configured, load_translator

BATCH_SIZES = (1, 4, 16, 64, 256)
JOINED = (1, 2, 4, 8)  # sentences that make one long one
UPDATES = 20
Figures = dict[str, Any]


@refusals_in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 5_000_000])
    parser.add_argument("--sentences", type=int, default=1000, help="test sentences to decode (default: 1000)")
    parser.add_argument("--prepare-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare_only:
        print(json.dumps(prepare_once(load_config(arguments.config))))
        return 0
    try:
        import matplotlib  # noqa: F401 - before hours of measurement
    except ImportError:
        raise UserError("matplotlib is not installed; pip install matplotlib") from None
    if min(*arguments.pairs, arguments.sentences) < 1 or not Run(arguments.run).config.data.test:
        raise UserError(f"--pairs and --sentences must be at least 1, and {arguments.run} must have a data.test")
    figures = decoding(arguments.run, arguments.sentences)
    figures["corpus"] = corpus_sizes(arguments.config, arguments.pairs, arguments.folder)
    write_file(arguments.folder / "scaling.json", json_bytes(figures))
    draw(figures, arguments.folder / "scaling.png")
    return 0


def corpus_sizes(config_path: str, sizes: Sequence[int], folder: Path) -> list[Figures]:
    """Measure preparing and training at each size."""
    config = load_config(config_path)
    pairs = list(read_pairs(config.data.train))
    found = []
    folder.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            own = write_corpus(config, pairs, size, Path(name))
            preparing = child([__file__, str(own), str(folder), str(folder), "--prepare-only"])
            benchmark = str(Path(__file__).with_name("benchmark.py"))
            training = child([benchmark, "train", str(own), "--updates", str(UPDATES), "--repeats", "3"])
        figures = {
            "pairs": size,
            "prepare_pairs_per_second": size / preparing["seconds"],
            "prepare_peak_megabytes": preparing["peak_megabytes"],
            "train_target_tokens_per_second": training["median"]["target_tokens_per_second"],
            "train_loader_share": training["median"]["loader_share"],
            "train_peak_megabytes": training["peak_memory_megabytes"],
        }
        TerminalReporter().info(json.dumps(figures))
        found.append(figures)
    return found


def child(arguments: Sequence[str]) -> Any:
    """Run a Python script in a separate process; returns the JSON that it prints."""
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(arguments)}: failed with exit code {done.returncode}; see its messages above")
    return json.loads(done.stdout)


def prepare_once(config: Config) -> Figures:
    """Seconds and memory to prepare a corpus with a given tokenizer."""
    start = time.perf_counter()
    prepare(config, TerminalReporter())
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def write_corpus(config: Config, pairs: Sequence[tuple[str, str]], size: int, folder: Path) -> Path:
    """Write `size` pairs and a config for them; returns the config. The tokenizer is the same for all sizes."""
    generator = random.Random(size)
    prepared = prepare(config, TerminalReporter())
    with (folder / "train.source").open("w") as sources, (folder / "train.target").open("w") as targets:
        for source, target in itertools.islice(itertools.cycle(pairs), size):
            sources.write(perturbed(source, generator) + "\n")
            targets.write(perturbed(target, generator) + "\n")
    own = config.model_dump(mode="json", exclude_defaults=True)
    own["run"] = {**own.get("run", {}), "directory": str(folder / "run")}
    own["data"]["train"] = {"source": str(folder / "train.source"), "target": str(folder / "train.target")}
    own["data"]["prepared_directory"] = str(folder / "prepared")
    own["tokenizer"] = own.get("tokenizer", {}) | tokenizer_files(prepared, folder)
    path = folder / "config.yaml"
    path.write_text(json.dumps(own))  # JSON is YAML
    return path


def perturbed(sentence: str, generator: random.Random) -> str:
    """The sentence with two neighbouring words swapped, so that copies differ."""
    words = sentence.split(" ")
    if len(words) > 1:
        place = generator.randrange(len(words) - 1)
        words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


def decoding(run: Path, count: int) -> Figures:
    """Sentences per second for each batch size, and target tokens per second for each sentence length."""
    pairs = itertools.islice(read_pairs(Run(run).config.data.test), count)
    sources = [source for source, _ in pairs]
    by_batch, by_length = list[Figures](), list[Figures]()
    for size in BATCH_SIZES:
        speed = decode(run, sources, [f"decoding.batch_size={size}"])
        by_batch.append({"batch_size": size, **speed})
    for joined in JOINED:
        texts = [" ".join(sources[start : start + joined]) for start in range(0, len(sources), joined)]
        by_length.append({"sentences_joined": joined, **decode(run, texts, [])})
    return {"batch_sizes": by_batch, "lengths": by_length}


def decode(run: Path, sources: Sequence[str], overrides: Sequence[str]) -> Figures:
    opened = Run(run, overrides)
    with configured(opened):
        translator = load_translator(opened, TerminalReporter(), use_all_cores=True)
        tokens = translator.source_tokenizer.encode(sources)
        translator.translate(sources[: len(sources) // 4])  # warm-up
        start = time.perf_counter()
        found = translator.translate_n_best(sources)
        seconds = time.perf_counter() - start
    figures = {
        "source_tokens_per_sentence": sum(map(len, tokens)) / len(tokens),
        "sentences_per_second": len(sources) / seconds,
        "target_tokens_per_second": sum(len(best[0].ids) + 1 for best in found) / seconds,
    }
    TerminalReporter().info(json.dumps(figures))
    return figures


def draw(figures: Figures, path: Path) -> None:
    """Plot the four curves."""
    from matplotlib.figure import Figure

    panels = [
        ("corpus", "pairs", "prepare_pairs_per_second", "preparing: pairs a second"),
        ("corpus", "pairs", "train_target_tokens_per_second", "training: target tokens a second"),
        ("batch_sizes", "batch_size", "sentences_per_second", "decoding: sentences a second"),
        ("lengths", "source_tokens_per_sentence", "target_tokens_per_second", "decoding: target tokens a second"),
    ]
    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, (group, x, y, title) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        axes.plot([point[x] for point in figures[group]], [point[y] for point in figures[group]], marker="o")
        axes.set(xscale="log", ylim=(0, None), xlabel=x.replace("_", " "), title=title)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
