"""The command line: one file per verb, which parses arguments, calls a task and prints the result."""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from transformer import __version__
from transformer.errors import UserError
from transformer.runtime.command import Parser, refusals_in_one_line

GROUPS = {
    "train": {
        "prepare": "train the tokenizer and encode the corpora of a config",
        "train": "train a config, or resume a run",
        "stages": "train, translate and evaluate in stages that build on one another",
        "average": "average the last checkpoints of a run",
    },
    "translate": {
        "translate": "translate sentences, a file or standard input with a run",
        "shortlist": "learn a shortlist of target pieces, for faster decoding",
        "calibrate": "learn to predict the quality of a run's translations, for confidences",
        "tune": "find the weights of a noisy channel on the validation corpus",
    },
    "measure": {
        "evaluate": "score a run, or a file of translations, by BLEU, chrF2++ and TER",
        "compare": "test whether differences between systems are significant",
        "score": "print a run's own log-probability of given translations",
    },
    "inspect": {
        "report": "explain runs on an HTML page, and in plots",
        "align": "align the words of given translations",
        "heads": "print statistics of each attention head of a run",
        "model": "print the weights and costs of a config's model",
        "config": "print the JSON Schema of configs, or a resolved config",
        "doctor": "check this machine with a ten-second training",
    },
    "ship": {"verify": "check that a run is undamaged and still translates as it did"},
}
VERBS = {verb: purpose for verbs in GROUPS.values() for verb, purpose in verbs.items()}

_USAGE = """usage: transformer VERB CONFIG_OR_RUN [section.key=value ...]

Encoder-decoder Transformers for translation.

{groups}

transformer VERB --help explains a verb, and transformer --version prints the version. Every option of a config can be
set as section.key=value.
"""


@refusals_in_one_line
def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit code: 0, 1 if a check of `doctor` or `verify` failed, 2 for a user error, 128 + n
    after signal n."""
    if sys.stdout is None:  # closed by the caller, as in `>&-`
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - open to the end, as a standard stream is
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - open to the end, as a standard stream is
    if isinstance(sys.stdout, io.TextIOWrapper):
        # UTF-8 like the input, whatever the locale; a path in another encoding is printed unchanged
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    return _run(sys.argv[1:] if arguments is None else list(arguments))


def usage() -> str:
    """What `transformer --help` prints."""
    groups = [
        "\n".join([f"{group}:", *(f"  {verb:<10} {purpose}" for verb, purpose in verbs.items())])
        for group, verbs in GROUPS.items()
    ]
    return _USAGE.format(groups="\n\n".join(groups))


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(usage(), end="")
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        raise UserError(f"{verb}: no such verb; there are {', '.join(VERBS)}")
    module = importlib.import_module(f"transformer.cli.{verb}")
    formatter = argparse.RawTextHelpFormatter
    parser = Parser(prog=f"transformer {verb}", description=module.__doc__, formatter_class=formatter)
    module.add_arguments(parser)
    cut = rest.index("--") if "--" in rest else len(rest)
    parsed = parser.parse_intermixed_args(rest[:cut])
    if cut < len(rest):  # argparse would accept these, but not tell that they came after --
        if not hasattr(parsed, "verbatim"):
            parser.error("-- is for sentences, and this verb takes none")
        parsed.verbatim = rest[cut + 1 :]
    return int(module.run(parsed))
