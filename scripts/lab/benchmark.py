"""Measure this machine's speed at one kind of work.

    python scripts/lab/benchmark.py train CONFIG    target tokens/s, share of the machine's peak (MFU), memory
    python scripts/lab/benchmark.py decode RUN      sentences/s, latency and BLEU on a trained run's test sentences
    python scripts/lab/benchmark.py decode CONFIG   the same for an untrained model, with translations of fixed length
    python scripts/lab/benchmark.py data CONFIG     preparing a corpus, compared with SentencePiece's encoding alone
    python scripts/lab/benchmark.py startup RUN     start of a cold process

Prints one JSON object: medians over the repeats after a warm-up, the figures of each repeat, and what was run; --json
also writes it to a file. With --against, a peer's benchmark (a shell command that prints tokens_per_s= or sents_per_s=)
runs in turn with ours, and the report adds the ratio of the medians. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.decoding import decoding_of_run, decoding_untrained
from benchmarks.peer import SPEEDS, peer_speed
from benchmarks.preparing import preparing
from benchmarks.startup import startup
from benchmarks.training import training
from transformer.config import load_config
from transformer.errors import UserError
from transformer.runtime.command import refusals_in_one_line
from transformer.runtime.device import choose_device, configure_process
from transformer.runtime.files import write_file

Figures = dict[str, float]
_SPEED = {"train": "target_tokens_per_second", "decode": "sentences_per_second"}


@refusals_in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", choices=("train", "decode", "data", "startup"))
    parser.add_argument("subject", metavar="CONFIG_OR_RUN", help="a YAML config, or a trained run's directory")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    parser.add_argument("--repeats", type=int, default=5, help="number of measurements (default: 5)")
    parser.add_argument("--updates", type=int, default=10, help="updates per training repeat (default: 10)")
    parser.add_argument("--sentences", type=int, default=1000, help="sentences per decoding repeat (default: 1000)")
    parser.add_argument("--against", metavar="COMMAND", help="a peer's benchmark, run in turn with ours")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result here")
    arguments = parser.parse_intermixed_args()
    report = measure(arguments)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json is not None:
        write_file(arguments.json, text.encode())
    return 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark and return its report.

    Raises:
        UserError: the subject does not suit the work, or the peer fails.
    """
    if min(arguments.repeats, arguments.updates, arguments.sentences) < 1:
        raise UserError("--repeats, --updates and --sentences must be at least 1")
    if arguments.against is not None and arguments.work not in SPEEDS:
        raise UserError(f"--against: {arguments.work} has no speed to compare; use it with {' or '.join(SPEEDS)}")
    environment = dict(os.environ)  # before this program changes it
    once = prepare_measure(arguments)
    if arguments.work != "startup":
        once()  # warm-up
    figures, peers = list[Figures](), list[float]()
    for _ in range(arguments.repeats):
        figures.append(once())
        if arguments.against is not None:
            peers.append(peer_speed(arguments.against, arguments.work, environment))
    medians = {name: statistics.median(figure[name] for figure in figures) for name in figures[0]}
    report = {
        "work": arguments.work,
        "subject": arguments.subject,
        "overrides": arguments.overrides,
        "median": rounded(medians),
        "repeats": [rounded(figure) for figure in figures],
        "peak_memory_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": machine(),
    }
    if peers:
        ratio = medians[_SPEED[arguments.work]] / statistics.median(peers)
        report["against"] = {"command": arguments.against, "speeds": peers, "ratio": round(ratio, 2)}
    return report


def prepare_measure(arguments: argparse.Namespace) -> Callable[[], Figures]:
    """A function that measures once."""
    subject = Path(arguments.subject)
    if arguments.work == "startup":
        if not subject.is_dir():
            raise UserError(f"{subject}: no run directory; startup needs a trained run")
        return startup(subject)
    if arguments.work == "decode" and subject.is_dir():
        return decoding_of_run(subject, arguments.overrides, arguments.sentences)
    config = load_config(subject, arguments.overrides)
    configure_process(config.run.threads, choose_device(config.run.device), training=arguments.work == "train")
    if arguments.work == "train":
        return training(config, arguments.updates)
    if arguments.work == "data":
        return preparing(config)
    return decoding_untrained(config, arguments.sentences)


def machine() -> str:
    """Processor, GPU and system, as far as they are known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return ", ".join([f"{os.cpu_count()} × {processor}", *gpu, platform.platform()])


def rounded(figures: Figures) -> Figures:
    return {name: float(f"{value:.5g}") for name, value in figures.items()}


if __name__ == "__main__":
    sys.exit(main())
