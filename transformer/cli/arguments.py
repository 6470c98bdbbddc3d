"""Arguments that several verbs share."""

import argparse


def add_run(parser: argparse.ArgumentParser, what: str = "a run directory, or one of its checkpoints") -> None:
    """A run, and overrides of its options."""
    parser.add_argument("run", help=what)
    add_overrides(parser, "the run's options")


def add_config(parser: argparse.ArgumentParser, what: str = "a YAML config, or a run directory") -> None:
    """A config, and overrides of its options."""
    parser.add_argument("config", help=what)
    add_overrides(parser, "the config's options")


def add_overrides(parser: argparse.ArgumentParser, of: str) -> None:
    parser.add_argument("overrides", nargs="*", default=[], metavar="section.key=value", help=f"override {of}")


def add_pair_of_files(parser: argparse.ArgumentParser, other: str, required: bool = False) -> None:
    """Source sentences, and a file that matches them line by line: `reference` or `target`."""
    source = "source sentences" if required else f"other source sentences, with --{other}"
    parser.add_argument("--source", metavar="FILE", required=required, help=source)
    what = "their reference translations" if other == "reference" else "their translations"
    parser.add_argument(f"--{other}", metavar="FILE", required=required, help=what)
