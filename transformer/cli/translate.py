"""Translate sentences from arguments, a file, or standard input line by line: one line out for each line in.

    transformer translate runs/demo "你能让它变得更安全吗？"
    transformer translate runs/demo --input sentences.zh decoding.beam_size=1
    cat sentences.zh | transformer translate runs/demo > sentences.en

--output-directory DIR writes the translations of each input to a file of the same name, atomically. An existing file is
kept if its record (.made-from.json) names the same lines, model and options, and refused otherwise: to resume a killed
job, repeat the command. --part 3/10 translates the third tenth of the lines into NAME.03-of-10; concatenate the parts
to get the whole.

    transformer translate runs/demo --input big.zh --output-directory out --part 3/10

--attention FILE writes the attention weights of every head, for each sentence and its best translation: one JSON object
per line, with the pieces of both sides and maps such as cross.2, [head][target piece][source piece].
decoding.confidence=true (after transformer calibrate RUN) prints a confidence from 0 to 100 and a tab before each text.
decoding.n_best=K prints up to K lines per sentence: its number, rank, score and text, separated by tabs;
decoding.token_scores=true adds its pieces and the log-probability of each, with the end mark's last.
decoding.line_fields=terms reads a sentence and, after tabs, terms that its translation must contain; `prefix` and
`prefix_terms` read how it must begin. docs/guide/decoding.md explains all options for controlling the search.
decoding.method=sample samples translations, decoding.ensemble combines runs, decoding.rerank reranks candidates.

    transformer translate runs/demo --input sentences.zh decoding.method=sample decoding.top_p=0.9 decoding.n_best=8

An argument of the form section.key=value is an option; each argument after -- is a sentence."""

import argparse
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from transformer.config import Config, is_override
from transformer.errors import UserError
from transformer.runtime.command import RenamedFlag
from transformer.runtime.files import check_writable, write_file
from transformer.runtime.reporting import TerminalReporter
from transformer.tasks.translate import translate_into, translate_lines

# a word directly before = is more likely a mistyped option than a sentence
_LIKE_AN_OPTION = re.compile(r"[A-Za-z_]+(\.[A-Za-z_0-9]+)*=\S*$")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory, or one of its checkpoints")
    parser.add_argument("sentences", nargs="*", default=[], help="sentences, and options as section.key=value")
    parser.set_defaults(verbatim=[])
    parser.add_argument("--attention", metavar="FILE", help="write attention maps of each translation as JSON")
    parser.add_argument("--input", metavar="FILE", action="append", help="a UTF-8 text file, plain or .gz")
    parser.add_argument("--output-directory", metavar="DIR", help="write a file to DIR for each --input")
    parser.add_argument("--part", metavar="I/N", help="with --output-directory: the I-th of N parts of each file")
    parser.add_argument("--shard", action=RenamedFlag, now="--part")


def run(arguments: argparse.Namespace) -> int:
    overrides = [argument for argument in arguments.sentences if is_override(argument)]
    sentences = [argument for argument in arguments.sentences if not is_override(argument)] + arguments.verbatim
    for argument in arguments.sentences:
        if _LIKE_AN_OPTION.match(argument) and not is_override(argument):
            sections = ", ".join(Config.model_fields)
            raise UserError(f"{argument}: no such option (sections are {sections}); as a sentence it goes after --")
    if sentences and arguments.input is not None:
        raise UserError("give sentences or --input FILE, not both")
    if arguments.output_directory is not None:
        return _into_directory(arguments, overrides)
    if arguments.part is not None or len(arguments.input or []) > 1:
        raise UserError("--part, and more than one --input, need --output-directory DIR")
    path = arguments.input[0] if arguments.input else None
    if not sentences and path is None and sys.stdin is None:
        raise UserError("nothing to translate: standard input is closed; give sentences or --input FILE")
    if arguments.attention is not None:
        check_writable(Path(arguments.attention))
    lines: Iterable[bytes] | Path = [os.fsencode(sentence.replace("\n", " ")) for sentence in sentences]
    name = "command line"
    if not sentences:
        lines, name = (sys.stdin.buffer, "standard input") if path is None else (Path(path), path)
    interactive = not sentences and path is None and sys.stdin.isatty()
    maps = list[str]()
    wants_maps = arguments.attention is not None
    for chunk in translate_lines(arguments.run, lines, name, overrides, wants_maps, interactive, TerminalReporter()):
        for translated in chunk:
            print(*translated.lines, sep="\n")
            if wants_maps:
                maps.append(translated.attention)
        sys.stdout.flush()
    if wants_maps:
        write_file(Path(arguments.attention), "".join(maps).encode())
    return 0


def _into_directory(arguments: argparse.Namespace, overrides: list[str]) -> int:
    if arguments.input is None:
        raise UserError("--output-directory needs --input FILE: its file takes the input's name")
    if arguments.attention is not None:
        raise UserError("--attention and --output-directory do not go together; give one of them")
    directory = Path(arguments.output_directory)
    translate_into(arguments.run, arguments.input, directory, overrides, arguments.part, TerminalReporter())
    return 0
