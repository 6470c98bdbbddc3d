"""scripts/corpora/libreoffice.py: pages out of Debian packages, paired by ids, split by whole pages."""

from __future__ import annotations

import hashlib
import io
import lzma
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import get_corpus
from corpora import libreoffice
from corpora.libreoffice import find, paired, read_pages, split_pages

PAGE = """<html><body><p dir="auto">Help</p><h1 id="hd_1" dir="auto">{title}</h1>
<p id="par_1">Press <span class="key"><span hidden="true" id="MAC_1">Command</span><span id="default_1">
Ctrl</span></span>+{letter}&nbsp;&amp; <em>wait</em>.</p><pre id="code">x</pre>
<p id="par_2">{number}</p></body></html>"""


def package(pages: dict[str, str], language: str = "de", content: bytes | None = None) -> bytes:
    """A Debian package with these pages, or with another content of data.tar.xz."""
    files = io.BytesIO()
    with tarfile.open(fileobj=files, mode="w") as archive:
        for path, text in pages.items():
            member = tarfile.TarInfo(f"./usr/share/libreoffice/help/{language}/text/{path}.html")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    members = {
        "debian-binary": b"2.0",
        "control.tar.xz": b"",
        "data.tar.xz": content or lzma.compress(files.getvalue()),
    }
    found = b"!<arch>\n"
    for name, data in members.items():
        found += f"{name:<16}{0:<12}{0:<6}{0:<6}{0:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return found


def page(title: str, letter: str = "A", number: str = "12") -> str:
    return PAGE.format(title=title, letter=letter, number=number)


def test_paragraphs_are_found_by_their_ids_and_a_macs_keys_are_not() -> None:
    pages = read_pages(package({"a/b": page("Gro\u00dfe  \n Titel")}))
    assert pages == {"text/a/b.html": {"hd_1": "Gro\u00dfe Titel", "par_1": "Press Ctrl+A & wait.", "par_2": "12"}}


def test_pairs_have_letters_and_are_translated() -> None:
    english = {"a": "Yes", "b": "12", "c": "Only here", "d": "SUM(A1)", "e": "Left in English"}
    german = {"a": "Ja", "b": "zwölf", "d": "SUM(A1)", "e": "Left in English", "f": "Nur hier"}
    assert list(paired(english, german)) == [("Yes", "Ja")]


def test_held_out_pages_are_whole_and_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libreoffice, "HELD_OUT_PAIRS", 6)
    everywhere = ("Example", "Beispiel")
    pages = {f"{n}": [everywhere, *((f"text {n} {i}", f"Text {n} {i}") for i in range(3))] for n in range(20)}
    split = split_pages(pages)
    assert everywhere in split.train and everywhere not in split.validation + split.test
    parts = [{pair[0].split()[1] for pair in part if pair != everywhere} for part in split[:3]]
    assert sum(map(len, parts)) == len(set.union(*parts)) and all(parts)
    assert len(split.validation) == len(split.test) == 6
    assert sum(map(len, split[:3])) + split.dropped["seen_before"] == 80
    assert split == split_pages(dict(reversed(pages.items())))


INDEX = "Package: other\nFilename: x.deb\n\nPackage: wanted\nDescription: of\n it: all\nFilename: y.deb\nSHA256: 00ff\n"


def test_the_index_says_where_a_package_is() -> None:
    assert find(INDEX, "wanted") == ("y.deb", "00ff")
    with pytest.raises(ValueError, match="no package absent"):
        find(INDEX, "absent")


def serve(monkeypatch: pytest.MonkeyPatch, english: bytes, german: bytes, sha256: str | None = None) -> None:
    files = {f"{name}.deb": content for name, content in zip(libreoffice.PACKAGES, (english, german), strict=True)}
    entries = [
        f"Package: {name[:-4]}\nFilename: {name}\nSHA256: {sha256 or hashlib.sha256(content).hexdigest()}"
        for name, content in files.items()
    ]
    files[libreoffice.INDEX] = lzma.compress("\n\n".join(entries).encode())
    monkeypatch.setattr(libreoffice, "download", files.__getitem__)


def pages_in(language: str) -> dict[str, str]:
    return {f"{n}": page(f"{language} title {n}", chr(65 + n), f"{language} number {n}") for n in range(12)}


def test_a_corpus_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(libreoffice, "HELD_OUT_PAIRS", 4)
    serve(monkeypatch, package(pages_in("English")), package(pages_in("German")))
    assert get_corpus.main([libreoffice.NAME, str(tmp_path / "corpus")]) == 0
    lines = {
        name: (tmp_path / "corpus" / name).read_text().splitlines() for name in ("train.en", "train.de", "test.en")
    }
    assert len(lines["train.en"]) == len(lines["train.de"]) > 0 and len(lines["test.en"]) == 4
    assert [line.replace("English", "German") for line in lines["train.en"]] == lines["train.de"]
    assert "Mozilla Public License" in (tmp_path / "corpus" / "ATTRIBUTION.txt").read_text()


@pytest.mark.parametrize(
    ("german", "sha256", "says"),
    [
        (b"<html>", None, "is no Debian package"),
        (package({}), None, "holds no page"),
        (package({}, content=b"no xz"), None, "cannot have Debian's packages"),
        (package({}, content=lzma.compress(bytes(999))[:-20]), None, "is cut short"),
        (package({}, content=lzma.compress(bytes(2**27 + 1), preset=0)), None, "more than 134217728 bytes"),
        (package({}).replace(b"3         `", b"-61       `", 1), None, "less than no bytes"),
        (package(pages_in("German")), "00", "has another SHA-256"),
    ],
)
def test_damaged_packages_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    german: bytes,
    sha256: str | None,
    says: str,
) -> None:
    serve(monkeypatch, package(pages_in("English")), german, sha256)
    assert get_corpus.main([libreoffice.NAME, str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert says in said and "libreoffice-help-de.deb" in said
    assert not list(tmp_path.iterdir())


def test_packages_may_be_put_there_by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(libreoffice, "HELD_OUT_PAIRS", 4)
    monkeypatch.delattr(libreoffice, "download")
    for name, language in zip(libreoffice.PACKAGES, ("English", "German"), strict=True):
        (tmp_path / f"{name}.deb").write_bytes(package(pages_in(language)))
    assert get_corpus.main([libreoffice.NAME, str(tmp_path)]) == 0
