"""English-German paragraphs of LibreOffice's help, from the two packages in which Debian ships it."""

import hashlib
import http.client
import lzma
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple, TypeVar

from corpora.debian import INDEX, download, downloaded, files, unpacked
from corpora.parallel import Corpus, CorpusError, Pair, clean_line, first_words
from corpora.splitting import hash_order, sentence_key

NAME = "libreoffice-help-en-de"
LANGUAGES = ("en", "de")
FOLDERS = {"libreoffice-help-en-us": "en-US", "libreoffice-help-de": "de"}  # of each package: where its pages are
PACKAGES = tuple(FOLDERS)
HELD_OUT_PAIRS = 1300  # in validation, and in test

_PARAGRAPHS = {"p", "h1", "h2", "h3", "h4", "h5", "h6"}
_ALTERNATIVES = {"span", "div"}  # what holds one of a text's alternatives

# what a bad connection and a damaged package raise; HTMLParser asserts what it expects of a page's declarations
_DAMAGE = (
    *(OSError, ValueError, EOFError, AssertionError),
    *(http.client.HTTPException, lzma.LZMAError, tarfile.TarError),
)

T = TypeVar("T")

Page = dict[str, str]  # paragraphs by their ids, which all languages share


class Split(NamedTuple):
    """Pairs of whole pages; no sentence of one part is in another."""

    train: list[Pair]
    validation: list[Pair]
    test: list[Pair]
    dropped: dict[str, int]


def fetch(directory: Path) -> Corpus:
    """Download both packages, check them, and return their paragraphs, page by page split.

    Packages that lie in `directory` already, as `libreoffice-help-en-us.deb` and `libreoffice-help-de.deb`, are used
    instead of downloads.

    Raises:
        CorpusError: Debian cannot be reached, or a package is not what it should be.
    """
    by_hand = {package: directory / f"{package}.deb" for package in PACKAGES}
    if all(file.is_file() for file in by_hand.values()):
        advice = f"delete {' and '.join(map(str, by_hand.values()))} to have them downloaded"
        read = {package: partial(file.read_bytes) for package, file in by_hand.items()}
    else:
        names = " and ".join(file.name for file in by_hand.values())
        place = f"put packages of https://packages.debian.org into {directory} as {names}"
        advice = f"check the connection and run again, or {place}"
        index = attempt("Debian's index", advice, lambda: unpacked(download(INDEX)).decode())
        read = {package: partial(downloaded, index, package) for package in PACKAGES}
    packages = {package: attempt(package, advice, get) for package, get in read.items()}
    english, german = (
        attempt(package, advice, partial(read_pages, content, FOLDERS[package]))
        for package, content in packages.items()
    )
    split = split_pages({page: list(paired(text, german[page])) for page, text in english.items() if page in german})
    return Corpus(
        languages=LANGUAGES,
        source=f"LibreOffice's help in Debian's packages {' and '.join(PACKAGES)}",
        attribution=_attribution(packages.values(), split),
        splits={"train": split.train, "validation": split.validation, "test": split.test},
        dropped=split.dropped,
    )


def attempt(what: str, advice: str, get: Callable[[], T]) -> T:
    """The result of a function, or one line that says what could not be had, and what to do.

    Raises:
        CorpusError: It cannot be had.
    """
    try:
        return get()
    except _DAMAGE as error:
        raise CorpusError(f"{NAME}: cannot have {what}: {first_words(error)}; {advice}") from None


def read_pages(package: bytes, folder: str) -> dict[str, Page]:
    """The pages of a package below a language's folder by their path, in its order.

    Raises:
        ValueError, AssertionError, tarfile.TarError, lzma.LZMAError: It is no such package.
    """
    wanted = re.compile(rf"\./usr/share/libreoffice/help/{folder}/(text/.+\.html)")
    pages = {found[1]: read_page(content.decode("utf-8", "replace")) for found, content in files(package, wanted)}
    if not pages:
        raise ValueError(f"it holds no page of LibreOffice's help in {folder}")
    return pages


def read_page(html: str) -> Page:
    """The paragraphs of a page."""
    parser = _Paragraphs()
    parser.feed(html)
    return {key: clean_line("".join(parts)) for key, parts in parser.found.items()}


class _Paragraphs(HTMLParser):
    """Collects the text of a page's paragraphs by their ids, as it is shown outside of a Mac.

    Of a text's alternatives the one called default is taken; a paragraph whose alternatives are for other programs or
    systems, as Impress and Draw, is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.paragraph: tuple[str, str] | None = None  # tag and id
        self.hidden_depth = 0  # open elements, the outermost of which a Mac alone shows

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        name = attributes.get("id") or ""
        if self.hidden_depth or name.startswith("MAC"):
            self.hidden_depth += tag in _ALTERNATIVES
        elif tag in _PARAGRAPHS and re.match("(par|hd)_", name):
            self.paragraph = tag, name
            self.found[name] = []
        elif self.paragraph and tag == "br":
            self.found[self.paragraph[1]].append(" ")
        elif self.paragraph and "hidden" in attributes and not name.startswith("default"):
            del self.found[self.paragraph[1]]
            self.paragraph = None

    def handle_endtag(self, tag: str) -> None:
        if self.hidden_depth:
            self.hidden_depth -= tag in _ALTERNATIVES
        elif self.paragraph and tag == self.paragraph[0]:
            self.paragraph = None

    def handle_data(self, data: str) -> None:
        if self.paragraph and not self.hidden_depth:
            self.found[self.paragraph[1]].append(data)


def paired(english: Page, german: Page) -> Iterator[Pair]:
    """The paragraphs that both languages have, with letters in them and not left in English."""
    for key, text in english.items():
        other = german.get(key, "")
        if text != other and re.search(r"[^\W\d_]{2}", text) and re.search(r"[^\W\d_]{2}", other):
            yield text, other


def split_pages(pages: Mapping[str, list[Pair]]) -> Split:
    """Hold out whole pages until they have pairs enough, by a hash of their paths.

    Of held-out pages only those pairs are kept whose sentences are new: much of a page is phrases that all pages have.
    Training pairs come in the order of a hash, held-out ones as they stand.
    """
    order = hash_order(NAME)
    waiting = sorted(pages, key=lambda page: order((page, "")), reverse=True)
    all_pairs = sum(map(len, pages.values()))
    held_out: list[list[Pair]] = []
    for _ in ("validation", "test"):
        chosen: list[str] = []
        while waiting and sum(len(pages[page]) for page in chosen) < 2 * HELD_OUT_PAIRS:  # half of them is not new
            chosen.append(waiting.pop())
        held_out.append([pair for page in chosen for pair in pages[page]])
    distinct = {pair for pairs in pages.values() for pair in pairs}
    train = sorted({pair for page in waiting for pair in pages[page]}, key=order)
    known = _keys(train)
    kept: list[list[Pair]] = []
    for pairs in held_out:
        kept.append(_new(pairs, known))
        known |= _keys(pairs)
    left = len(train) + sum(map(len, kept))
    validation, test = (pairs[:HELD_OUT_PAIRS] for pairs in kept)
    dropped = {
        "duplicates": all_pairs - len(distinct),
        "sentences_of_another_part": len(distinct) - left,
        "beyond_size": left - len(train) - len(validation) - len(test),
    }
    return Split(train, validation, test, dropped)


def _new(pairs: Iterable[Pair], known: set[tuple[int, str]]) -> list[Pair]:
    """Those with no sentence that is known, or came before."""
    new: list[Pair] = []
    seen = set(known)
    for pair in pairs:
        own = _keys([pair])
        if not own & seen:
            new.append(pair)
        seen |= own
    return new


def _keys(pairs: Iterable[Pair]) -> set[tuple[int, str]]:
    return {(side, sentence_key(pair[side])) for pair in pairs for side in (0, 1)}


def _attribution(packages: Iterable[bytes], split: Split) -> str:
    sums = "\n          ".join(hashlib.sha256(package).hexdigest() for package in packages)
    return f"""English-German paragraphs of LibreOffice's help

Source:   LibreOffice, https://www.libreoffice.org, written and translated by its contributors.
Licence:  Mozilla Public License 2.0, https://www.mozilla.org/MPL/2.0/
Edition:  Debian's packages {" and ".join(PACKAGES)}, with SHA-256
          {sums}

Changes made here: paragraphs and headings taken out of the pages and paired by their ids; marks removed, white space
folded to single spaces; what is shown on a Mac alone left out, and paragraphs with a text for each of several programs;
pairs without letters, or left in English, left out; equal pairs removed ({split.dropped["duplicates"]}); split by whole
pages; removed from those held out: {split.dropped["sentences_of_another_part"]} pairs with a sentence that is in
another part, and {split.dropped["beyond_size"]} beyond the size of the part.
"""
