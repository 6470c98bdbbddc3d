"""Arguments that several verbs take."""

from __future__ import annotations

import argparse


def add_run(parser: argparse.ArgumentParser, what: str = "a run directory, or one of its checkpoints") -> None:
    """A run, and options over its own."""
    parser.add_argument("run", help=what)
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the run's options")


def add_config(parser: argparse.ArgumentParser, what: str = "a YAML config, or a run directory") -> None:
    """A config, and options over its own."""
    parser.add_argument("config", help=what)
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help="over the config's")


def add_pair_of_files(parser: argparse.ArgumentParser, other: str, required: bool = False) -> None:
    """Source sentences, and what belongs to each of them line by line: `reference` or `target`."""
    source = "source sentences" if required else f"other source sentences, with --{other}"
    parser.add_argument("--source", metavar="FILE", required=required, help=source)
    what = "their reference translations" if other == "reference" else "their translations"
    parser.add_argument(f"--{other}", metavar="FILE", required=required, help=what)
