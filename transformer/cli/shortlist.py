"""Learn a run's lexical shortlist from its training corpus, for decoding.shortlist=true.

    transformer shortlist runs/demo
    transformer translate runs/demo decoding.shortlist=true "你能让它变得更安全吗？"

For each source piece the target pieces that most probably translate it, by IBM model 1, beside the most frequent target
pieces: decoding then computes no others. It costs a little quality; evaluate with and without it."""

from __future__ import annotations

import argparse

from transformer.data.lexicon import most_frequent, translation_table
from transformer.data.prepare import prepare
from transformer.data.tokenizer import load_tokenizers, tokenizer_hashes, with_own_models
from transformer.decoding.speed.shortlist import Shortlist
from transformer.errors import UserError
from transformer.run.directory import RunDirectory, run_of
from transformer.tasks.translators import run_config, say

_ITERATIONS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="a run directory")
    parser.add_argument("overrides", nargs="*", default=[], metavar="data.key=value", help="where the corpus is now")
    parser.add_argument("--candidates", type=int, default=100, help="target pieces of a source piece (default: 100)")
    parser.add_argument("--frequent", type=int, default=500, help="pieces of every sentence (default: 500)")
    parser.add_argument("--pairs", type=int, default=100_000, help="sentence pairs to learn from (default: 100000)")


def run(arguments: argparse.Namespace) -> int:
    for name in ("candidates", "frequent", "pairs"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} {getattr(arguments, name)}: must be at least 1")
    run = run_of(arguments.run)
    config, folder = run_config(arguments.run, arguments.overrides), RunDirectory(run).tokenizer
    prepared = prepare(config.model_copy(update={"tokenizer": with_own_models(config.tokenizer, folder)}), say)
    own = tokenizer_hashes(*load_tokenizers(folder))
    if own != tokenizer_hashes(prepared.source_tokenizer, prepared.target_tokenizer):
        raise UserError(
            f"{arguments.run}: its training corpus is no longer what it was, and gives another tokenizer; name the "
            "corpus that the run was trained on: data.train=…"
        )
    corpus = prepared.corpus("train")
    vocabularies = prepared.source_tokenizer.vocab_size, prepared.target_tokenizer.vocab_size
    say(f"shortlist: learning from {min(arguments.pairs, len(corpus)):,} pairs")
    best = min(arguments.candidates, vocabularies[1])
    candidates = translation_table(corpus, *vocabularies, best, arguments.pairs, _ITERATIONS)
    frequent = most_frequent(corpus, vocabularies[1], arguments.frequent, arguments.pairs)
    print(Shortlist(candidates, frequent).write(run))
    return 0
