"""The German-English corpora that the Hugging Face hub holds as plain data files."""

import http.client
import importlib
import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.parallel import SPLITS, Corpus, CorpusError, Pair, first_words
from corpora.publishing import text_files

PROBE_LIMIT_S = 6.0
ROWS_AT_ONCE = 1000
# The hub converts every public data set to Parquet on this branch, those with a loading script included.
PARQUET_BRANCH = "refs/convert/parquet"


@dataclass(frozen=True)
class HubSource:
    """One data set on the hub.

    Attributes:
        repository: Its id, or the path of a local folder with the same layout.
        configuration: The named configuration, if the data set declares any.
        parquet_folder: The folder on the Parquet branch, for a data set whose main branch has a loading script;
            "*" where there is only one.
    """

    repository: str
    configuration: str | None = None
    parquet_folder: str | None = None

    def load(self, datasets: Any) -> Any:
        """Download and open the data set; raise whatever the library raises."""
        if self.parquet_folder is None:
            return datasets.load_dataset(self.repository, self.configuration)
        files = {split: f"{self.parquet_folder}/{split}/*.parquet" for split in SPLITS}
        return datasets.load_dataset(self.repository, data_files=files, revision=PARQUET_BRANCH)


@dataclass(frozen=True)
class HubCorpus:
    """A corpus offered to the user: its languages, and the data sets to try in turn."""

    languages: tuple[str, str]
    sources: tuple[HubSource, ...]


CORPORA = {
    "multi30k-en-de": HubCorpus(("en", "de"), (HubSource("bentrevett/multi30k"),)),
    "iwslt14-de-en": HubCorpus(
        ("de", "en"),
        (
            HubSource("bbaaaa/iwslt14-de-en", parquet_folder="*"),
            HubSource("IWSLT/iwslt2017", parquet_folder="iwslt2017-de-en"),
        ),
    ),
    "wmt14-en-de": HubCorpus(("en", "de"), (HubSource("wmt/wmt14", configuration="de-en"),)),
}


def fetch(name: str, directory: Path) -> Corpus:
    """Return the named corpus from the hub, its own splits unchanged; `directory` is where it is wanted.

    Raises:
        CorpusError: The hub cannot be reached or lacks the corpus; the text tells the manual route.
    """
    corpus = CORPORA[name]
    datasets = _library(name, directory)
    notes: list[str] = []
    for source in corpus.sources:
        try:
            loaded = source.load(datasets)
        except Exception as error:  # The library lets errors of a dozen packages through, many of them plain.
            reason = f"{source.repository}: {first_words(error)}"
            if not _is_absent(error):
                raise CorpusError(_by_hand(name, directory, reason)) from None
            notes.append(reason)
            continue
        missing = [split for split in SPLITS if split not in loaded]
        if missing:
            notes.append(f"{source.repository}: it has no {missing[0]} split")
            continue
        return _corpus(source, corpus.languages, loaded, tuple(notes))
    raise CorpusError(_by_hand(name, directory, "the hub does not offer it: " + "; ".join(notes)))


def _corpus(source: HubSource, languages: tuple[str, str], loaded: Any, notes: tuple[str, ...]) -> Corpus:
    address = f"https://huggingface.co/datasets/{source.repository}"
    return Corpus(
        languages=languages,
        source=f"Hugging Face data set {source.repository}",
        attribution=(
            f"Source:  {address}\n"
            f"Licence: that of the data set, see its card at the address above\n"
            f"Changes: white space folded to single spaces, pairs with an empty side removed\n"
        ),
        splits={split: read_pairs(loaded[split], languages) for split in SPLITS},
        notes=tuple(f"not used: {note}" for note in notes),
    )


def read_pairs(dataset: Any, languages: tuple[str, str]) -> Iterator[Pair]:
    """Yield the sentence pairs of one split: a `translation` column of dictionaries, or a column a language.

    Raises:
        CorpusError: The columns are neither.
    """
    first, second = languages
    for rows in dataset.iter(batch_size=ROWS_AT_ONCE):
        try:
            if "translation" in rows:
                pairs = [(row[first], row[second]) for row in rows["translation"]]
            else:
                pairs = list(zip(rows[first], rows[second], strict=True))
        except (KeyError, TypeError):
            raise CorpusError(
                f"the data set has the columns {', '.join(rows)} and no sentences in {first} and {second}; "
                f"it has changed on the hub: report this"
            ) from None
        for left, right in pairs:
            yield left or "", right or ""


def _library(name: str, directory: Path) -> Any:
    """Import the datasets library once it is known that the hub answers, or that only the cache may be used."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    # The library would try a hub out of reach again and again, for minutes.
    problem = "" if _cache_only() else unreachable(endpoint, PROBE_LIMIT_S)
    if problem:
        raise CorpusError(_by_hand(name, directory, f"cannot reach {endpoint}: {problem}"))
    # Read when the library is imported; what the user set stays.
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", "10")
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "30")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise CorpusError(f"{name}: {first_words(error)}; install it with: pip install datasets") from None
    datasets.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    return datasets


def _cache_only() -> bool:
    values = (os.environ.get(variable, "") for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"))
    return any(value.upper() in ("1", "ON", "YES", "TRUE") for value in values)


def unreachable(url: str, limit_s: float) -> str:
    """Return why no HTTP answer comes from the address within `limit_s` seconds, or "" if one does."""
    outcome = [f"no answer within {limit_s:g} s"]

    def probe() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=limit_s).close()
            outcome[0] = ""
        except urllib.error.HTTPError:
            outcome[0] = ""
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if not isinstance(reason, TimeoutError):  # that is what `outcome` says already
                outcome[0] = first_words(reason)

    # A thread, because the time-out covers neither name resolution nor a host's several addresses together.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(limit_s)
    return outcome[0]


def _is_absent(error: Exception) -> bool:
    """Tell a data set that is not there in a usable form from a connection that broke."""
    return isinstance(error, FileNotFoundError | ValueError) or (
        isinstance(error, RuntimeError) and "script" in str(error)
    )


def _by_hand(name: str, directory: Path, reason: str) -> str:
    corpus = CORPORA[name]
    files = ", ".join(text_files(corpus.languages))
    where = f"https://huggingface.co/datasets/{corpus.sources[0].repository}"
    return (
        f"{name}: {reason}; run again when it can be reached, or by hand: save the pairs of {where} into "
        f"{directory} as {files} (UTF-8, one sentence a line, equal line numbers translate each other)"
    )
