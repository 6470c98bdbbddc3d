"""English-German paragraphs of LibreOffice's help, from the two packages in which Debian ships it."""

import hashlib
import io
import lzma
import re
import tarfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

from corpora.parallel import Corpus, CorpusError, Pair, clean_line, first_words
from corpora.splitting import hash_order, sentence_key

NAME = "libreoffice-help-en-de"
LANGUAGES = ("en", "de")
ARCHIVE = "https://deb.debian.org/debian/"
INDEX = "dists/bookworm/main/binary-all/Packages.xz"
PACKAGES = ("libreoffice-help-en-us", "libreoffice-help-de")
HELD_OUT_PAIRS = 1300  # in validation, and in test
DOWNLOAD_LIMIT_S = 60
MAX_BYTES = 2**27  # of a download, and of an archive's content

_PAGE = re.compile(r"\./usr/share/libreoffice/help/[^/]+/(text/.+\.html)")
_PARAGRAPHS = {"p", "h1", "h2", "h3", "h4", "h5", "h6"}

Page = dict[str, str]  # paragraphs by their ids, which all languages share


class Download(NamedTuple):
    """A package's file, as Debian's index names it."""

    path: str
    sha256: str


class Split(NamedTuple):
    """Pairs of whole pages; no sentence of validation or test is on a page of another split."""

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
    by_hand = [directory / f"{package}.deb" for package in PACKAGES]
    try:
        if all(file.is_file() for file in by_hand):
            packages = [file.read_bytes() for file in by_hand]
        else:
            index = unpacked(download(INDEX)).decode()
            packages = [verified(find(index, package)) for package in PACKAGES]
        english, german = (read_pages(package) for package in packages)
    except (OSError, ValueError, EOFError, lzma.LZMAError, tarfile.TarError) as error:
        names = " and ".join(file.name for file in by_hand)
        raise CorpusError(
            f"{NAME}: cannot have Debian's packages: {first_words(error)}; check the connection and run again, or put "
            f"them into {directory} as {names}"
        ) from None
    split = split_pages({page: list(paired(text, german[page])) for page, text in english.items() if page in german})
    return Corpus(
        languages=LANGUAGES,
        source=f"LibreOffice's help in Debian's packages {' and '.join(PACKAGES)}",
        attribution=_attribution(packages, split),
        splits={"train": split.train, "validation": split.validation, "test": split.test},
        dropped=split.dropped,
    )


def download(path: str) -> bytes:
    """A file of Debian's archive.

    Raises:
        OSError: It cannot be had.
        ValueError: It is too large to be what is looked for.
    """
    with urllib.request.urlopen(ARCHIVE + path, timeout=DOWNLOAD_LIMIT_S) as answer:
        content: bytes = answer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES} bytes")
    return content


def find(index: str, package: str) -> Download:
    """Where a package is, by the text of Debian's index.

    Raises:
        ValueError: The index does not say.
    """
    for entry in index.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if re.match(r"[A-Za-z0-9]+: ", line))
        if fields.get("Package") == package and {"Filename", "SHA256"} <= fields.keys():
            return Download(fields["Filename"], fields["SHA256"])
    raise ValueError(f"Debian's index has no package {package}")


def verified(wanted: Download) -> bytes:
    """The content of a package.

    Raises:
        ValueError: It is another file than the index names.
    """
    content = download(wanted.path)
    if hashlib.sha256(content).hexdigest() != wanted.sha256:
        raise ValueError(f"{wanted.path} has another SHA-256 than Debian's index says")
    return content


def unpacked(content: bytes) -> bytes:
    """What xz has packed.

    Raises:
        ValueError, lzma.LZMAError: It is damaged, or too large to be what is looked for.
    """
    decompressor = lzma.LZMADecompressor()
    found = decompressor.decompress(content, MAX_BYTES)
    if not decompressor.eof:
        raise ValueError(f"a packed file is cut short, or has more than {MAX_BYTES} bytes")
    return found


def read_pages(package: bytes) -> dict[str, Page]:
    """The pages of a package by their path, in its order. Nothing is extracted, so that no path is trusted.

    Raises:
        ValueError, tarfile.TarError, lzma.LZMAError: It is no such package.
    """
    content = unpacked(data_member(package))
    pages: dict[str, Page] = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            page = _PAGE.fullmatch(member.name)
            file = archive.extractfile(member) if page and member.isfile() else None
            if page and file:
                parser = _Paragraphs()
                parser.feed(file.read().decode("utf-8", "replace"))
                pages[page[1]] = {key: clean_line("".join(parts)) for key, parts in parser.found.items()}
    if not pages:
        raise ValueError("a package holds no page of LibreOffice's help")
    return pages


def data_member(package: bytes) -> bytes:
    """The `data.tar.xz` of a Debian package, which is an `ar` archive (deb(5)).

    Raises:
        ValueError: There is none.
    """
    place = 8
    if not package.startswith(b"!<arch>\n"):
        raise ValueError("a package is no Debian package")
    while place + 60 <= len(package):
        name, size = package[place : place + 16].rstrip(b" /"), int(package[place + 48 : place + 58])
        if size < 0:
            raise ValueError("a package has a member of less than no bytes")
        if name == b"data.tar.xz":
            return package[place + 60 : place + 60 + size]
        place += 60 + size + size % 2
    raise ValueError("a package holds no data.tar.xz")


class _Paragraphs(HTMLParser):
    """Collects the text of a page's paragraphs by their ids, without what is shown on a Mac alone."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.paragraph: tuple[str, str] | None = None  # tag and id
        self.hidden_depth = 0  # open spans, of which the outermost one is hidden

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = dict(attrs).get("id") or ""
        if tag in _PARAGRAPHS and re.match("(par|hd)_", name):
            self.paragraph, self.hidden_depth = (tag, name), 0
            self.found[name] = []
        elif tag == "span" and (self.hidden_depth or name.startswith("MAC")):
            self.hidden_depth += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "span" and self.hidden_depth:
            self.hidden_depth -= 1
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
    train = sorted({pair for page in waiting for pair in pages[page]}, key=order)
    known = _keys(train)
    kept: list[list[Pair]] = []
    for pairs in held_out:
        kept.append(_new(pairs, known)[:HELD_OUT_PAIRS])
        known |= _keys(pairs)
    validation, test = kept
    left = len(train) + len(validation) + len(test)
    return Split(train, validation, test, {"seen_before": all_pairs - left})


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
folded to single spaces; what is shown on a Mac alone left out; pairs without letters, or left in English, left out;
split by whole pages; {split.dropped["seen_before"]} pairs left out that are there already, or that are on
a held-out page and have a sentence that is also on another one.
"""
