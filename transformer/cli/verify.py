"""Check that a run is whole and still translates as it did when its training ended; a line for each check.

    transformer verify runs/demo
    transformer verify runs/demo --record

Every checkpoint is compared with its checksums, the tokenizer is loaded, and five sentences of the validation corpus
are translated again, in fp32 on a CPU: the texts must be those that training recorded in verification.json, and the
scores the same to four digits. The exit code is 0 where all holds and 1 where something does not.

--record writes verification.json first: for a run from before there was one, or one whose best checkpoint was changed
on purpose. The validation corpus must be there; data.validation=… says where."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from transformer.data.tokenizer import load_tokenizers
from transformer.errors import UserError
from transformer.run.directory import AVERAGED, RunDirectory, run_of
from transformer.run.store import verify_checkpoint
from transformer.runtime.device import choose_device, configure_process
from transformer.tasks.translators import run_config
from transformer.tasks.verification import compare_translations, read_verification, record_verification


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory")
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the run's")
    parser.add_argument("--record", action="store_true", help="write down what the best checkpoint gives now")


def run(arguments: argparse.Namespace) -> int:
    config = run_config(arguments.run, arguments.overrides)
    directory = RunDirectory(run_of(arguments.run))
    configure_process(config.run.threads, choose_device("cpu"))
    if arguments.record:
        record_verification(directory, config)
    names: list[int | str] = [*directory.updates()]
    names += [AVERAGED] if directory.checkpoint(AVERAGED).is_dir() else []
    checks: dict[str, Callable[[], str]] = {
        f"checkpoint {name}": lambda name=name: _checkpoint(directory, name)  # type: ignore[misc]
        for name in names
    }
    checks |= {
        "pointers": lambda: f"best is {directory.resolve('best').name}, last is {directory.resolve('last').name}",
        "tokenizer": lambda: _tokenizers(directory),
        "translations": lambda: _translations(directory),
    }
    held = [_report(name, check) for name, check in checks.items()]
    return 0 if all(held) else 1


def _report(name: str, check: Callable[[], str]) -> bool:
    """Print a check's line; returns whether it held."""
    try:
        found, held = check(), True
    except UserError as error:
        found, held = " ".join(str(error).splitlines()), False
    print(f"{'ok    ' if held else 'FAILED'}  {name}: {found}")
    return held


def _checkpoint(run: RunDirectory, name: int | str) -> str:
    verify_checkpoint(run.checkpoint(name))
    return "whole"


def _tokenizers(run: RunDirectory) -> str:
    source, target = load_tokenizers(run.tokenizer)
    sizes = f"{source.vocab_size:,}" + ("" if source is target else f" and {target.vocab_size:,}")
    return f"{sizes} pieces"


def _translations(run: RunDirectory) -> str:
    verification = read_verification(run)
    if verification is None:
        raise UserError(
            f"{run.path} holds no verification.json; make it from its data: transformer verify RUN --record"
        )
    if differences := compare_translations(run, verification):
        raise UserError("; ".join(differences))
    return f"{len(verification.sources)} by checkpoint {verification.checkpoint} come out as recorded"
