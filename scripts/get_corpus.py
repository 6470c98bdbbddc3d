"""Fetch a parallel corpus and write it as plain text, one sentence a line.

Usage: python scripts/get_corpus.py NAME DIR

Writes train, validation and test files for both languages (train.zh, train.en, ...), ATTRIBUTION.txt, and corpus.json
with counts and checksums. Exit codes: 0, the corpus is in DIR; 2, it is not, and one line on standard error says why
and what to do; 130, interrupted.
"""

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from corpora import hub, libreoffice, tatoeba
from corpora.parallel import Corpus, CorpusError, first_words
from corpora.publishing import finished_corpus, prepare_directory, print_counts, publish

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

# For each name: the languages of its files, and how to fetch it given the folder it will be written to.
CORPORA: dict[str, tuple[tuple[str, str], Callable[[Path], Corpus]]] = {
    tatoeba.NAME: (tatoeba.LANGUAGES, tatoeba.fetch),
    libreoffice.NAME: (libreoffice.LANGUAGES, libreoffice.fetch),
    **{name: (corpus.languages, partial(hub.fetch, name)) for name, corpus in hub.CORPORA.items()},
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CorpusError(f"{message}; usage: get_corpus.py NAME DIR, where NAME is one of {', '.join(CORPORA)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with the given arguments, by default the command line's; return the exit code."""
    try:
        parser = _Parser(description="Fetch a parallel corpus and write it as plain text, one sentence a line.")
        parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(CORPORA)}")
        parser.add_argument("directory", metavar="DIR", type=Path, help="folder to write to; created if missing")
        options = parser.parse_args(arguments)
        get_corpus(options.name, options.directory)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        reason = first_words(error.strerror or error)
        print(f"error: {reason}{place}; free space or name another folder, and run again", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def get_corpus(name: str, directory: Path) -> None:
    """Fetch the named corpus into the folder, unless it is already there, and print its counts.

    Raises:
        CorpusError: The name is unknown, the folder unusable, or the corpus unavailable.
        OSError: Writing failed.
    """
    if name not in CORPORA:
        nearest = difflib.get_close_matches(name.lower(), CORPORA, n=1, cutoff=0.0)[0]
        raise CorpusError(f"unknown corpus '{name}': did you mean {nearest}? There are {', '.join(CORPORA)}")
    languages, fetch = CORPORA[name]
    prepare_directory(directory)
    manifest = finished_corpus(directory, name, languages)
    if manifest:
        print(f"{name} is already complete in {directory}")
        print_counts(manifest)
        return
    print(f"fetching {name} ...", flush=True)
    corpus = fetch(directory)
    for note in corpus.notes:
        print(note)
    manifest = publish(directory, name, corpus)
    print(f"wrote {name} to {directory}, from {corpus.source}")
    print_counts(manifest)


if __name__ == "__main__":
    sys.exit(main())
