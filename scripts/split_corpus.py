"""Split one parallel text into train, validation and test, so that no sentence of one is in another.

    python scripts/split_corpus.py DIR de en --source all.de --target all.en [--validation 2000] [--test 2000]
    python scripts/split_corpus.py DIR de en --table pairs.tsv --source-field 2 --target-field 1

Give the text as in data.train of a config; sizes are in pairs. Sentences that translate each other, directly or through
others, stay together; sentences that differ only in case, white space or punctuation count as one. Each held-out
sentence occurs once, with one of its translations. The result depends only on the pairs, not on their order. train is
shuffled: its first 30,000 lines are a fair sample. Writes train.de, train.en, validation.de, ... and corpus.json.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from corpora.parallel import Corpus, CorpusError, clean_line
from corpora.publishing import MANIFEST, prepare_directory, print_counts, publish, text_files
from corpora.splitting import split_pairs
from transformer.config.corpora import CorpusSection
from transformer.config.loading import validated
from transformer.data.corpus import read_pairs
from transformer.errors import UserError
from transformer.runtime.command import Parser, refusals_in_one_line

TEXT_OPTIONS = ("source", "target", "table", "hub", "hub_config", "hub_split", "source_field", "target_field")
ORDER = "split_corpus/1"  # seed of the hash that orders the pairs; another one gives another split


@refusals_in_one_line
def main() -> int:
    parser = Parser(prog="split_corpus.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory", metavar="DIR", type=Path, help="folder to write to; created if missing")
    parser.add_argument("languages", metavar="LANGUAGE", nargs=2, help="codes of source and target, for the file names")
    for option in TEXT_OPTIONS:
        parser.add_argument(f"--{option.replace('_', '-')}", help=f"like {option} of data.train")
    for split in ("validation", "test"):
        parser.add_argument(f"--{split}", type=int, default=2000, metavar="PAIRS")
    arguments = parser.parse_args()
    source, target = arguments.languages
    if source == target or not all(re.fullmatch(r"[\w-]+", code) for code in (source, target)):
        raise UserError(f"LANGUAGE {source} {target}: give two different codes, e.g. de en")
    for split in ("validation", "test"):
        if vars(arguments)[split] < 1:
            raise UserError(f"--{split} {vars(arguments)[split]}: must be at least 1 pair")
    try:
        split_corpus(corpus_of(arguments), arguments.directory, (source, target), arguments.validation, arguments.test)
    except CorpusError as error:
        raise UserError(str(error)) from None
    return 0


def corpus_of(arguments: argparse.Namespace) -> CorpusSection:
    """The corpus that the options name.

    Raises:
        UserError: the options do not fit together.
    """
    given = {option: vars(arguments)[option] for option in TEXT_OPTIONS if vars(arguments)[option] is not None}
    for field in ("source_field", "target_field"):  # may be column numbers
        if given.get(field, "").isdecimal():
            given[field] = int(given[field])
    return validated(CorpusSection, given, {}, "the text to split")


def split_corpus(
    text: CorpusSection, directory: Path, languages: tuple[str, str], validation_size: int, test_size: int
) -> None:
    """Write the three splits of a text into a folder that has none yet, all or nothing, and print the counts.

    Raises:
        UserError: the text cannot be read, or is too small.
        CorpusError: the folder already has such files, or cannot be written to.
    """
    prepare_directory(directory)
    held = [name for name in (*text_files(languages), MANIFEST) if (directory / name).exists()]
    if held:
        raise CorpusError(f"{directory} already holds {held[0]}: name another folder")
    cleaned = [(clean_line(source), clean_line(target)) for source, target in read_pairs([text])]
    pairs = [pair for pair in cleaned if all(pair)]
    name = text.table or text.hub or f"{text.source} and {text.target}"
    try:
        split = split_pairs(pairs, validation_size, test_size, seed=ORDER)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    corpus = Corpus(
        languages=languages,
        source=name,
        attribution=f"Split by scripts/split_corpus.py from {name}, whose licence applies.\n",
        splits={"train": split.train, "validation": split.validation, "test": split.test},
        dropped={
            "one_sided": len(cleaned) - len(pairs),
            "duplicates": split.duplicates,
            "extra_references": split.extra_references,
        },
    )
    print_counts(publish(directory, "split_corpus", corpus))


if __name__ == "__main__":
    sys.exit(main())
