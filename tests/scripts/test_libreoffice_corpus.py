"""scripts/corpora/libreoffice.py: pages out of Debian packages, paired by ids, split by whole pages."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from pathlib import Path

import pytest

import get_corpus
from corpora import debian, libreoffice
from corpora.debian import find
from corpora.libreoffice import paired, read_page, read_pages, split_pages

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
    pages = read_pages(package({"a/b": page("Gro\u00dfe  \n Titel")}), "de")
    assert pages == {"text/a/b.html": {"hd_1": "Gro\u00dfe Titel", "par_1": "Press Ctrl+A & wait.", "par_2": "12"}}


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("one<br/>two<br>three", "one two three"),
        ('<span hidden="true" id="WRITER_1">Text</span><span hidden="true" id="CALC_1">Sheet</span>', None),
        ('<span hidden id="MAC_1">a<span>b</span>c</span><span hidden id="default_1">d</span> e', "d e"),
    ],
)
def test_alternatives_are_not_joined(html: str, text: str | None) -> None:
    found = read_page(f'<p id="par_1">{html}</p><p id="par_2">next</p>')
    assert found == ({"par_2": "next"} if text is None else {"par_1": text, "par_2": "next"})


def test_what_a_mac_alone_shows_may_be_paragraphs() -> None:
    found = read_page('<div id="MAC_1"><p id="par_1">Keychain</p><div></div></div><p id="par_2">Certificates</p>')
    assert found == {"par_2": "Certificates"}


def test_pairs_have_letters_and_are_translated() -> None:
    english = {"a": "Yes", "b": "12", "c": "Only here", "d": "SUM(A1)", "e": "Left in English"}
    german = {"a": "Ja", "b": "zwölf", "d": "SUM(A1)", "e": "Left in English", "f": "Nur hier"}
    assert list(paired(english, german)) == [("Yes", "Ja")]


def test_held_out_pages_are_whole_and_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libreoffice, "HELD_OUT_PAIRS", 6)
    everywhere = ("Example", "Beispiel")
    pages = {
        f"{n}": [everywhere, ("Note", f"Hinweis {n}"), *((f"text {n} {i}", f"Text {n} {i}") for i in range(3))]
        for n in range(20)
    }
    split = split_pages(pages)
    assert everywhere in split.train
    held_out = split.validation + split.test
    assert not {"Example", "Note"} & {source for source, _ in held_out}
    parts = [{pair[1].split()[1] for pair in part if pair != everywhere} for part in split[:3]]
    assert sum(map(len, parts)) == len(set.union(*parts)) and all(parts)
    assert len(split.validation) == len(split.test) == 6
    assert sum(map(len, split[:3])) + sum(split.dropped.values()) == 100
    assert split.dropped["duplicates"] == 19 and split.dropped["beyond_size"] > 0
    assert split == split_pages(dict(reversed(pages.items())))


INDEX = "Package: other\nFilename: x.deb\n\nPackage: wanted\nDescription: of\n it: all\nFilename: y.deb\nSHA256: 00ff\n"


def test_the_index_says_where_a_package_is() -> None:
    assert find(INDEX, "wanted") == ("y.deb", "00ff")
    with pytest.raises(ValueError, match="no package absent"):
        find(INDEX, "absent")


def packages(english: str = "English", german: str = "German") -> tuple[bytes, bytes]:
    return package(pages_in(english), "en-US"), package(pages_in(german))


def serve(monkeypatch: pytest.MonkeyPatch, english: bytes, german: bytes, sha256: str | None = None) -> None:
    files = {f"{name}.deb": content for name, content in zip(libreoffice.PACKAGES, (english, german), strict=True)}
    entries = [
        f"Package: {name[:-4]}\nFilename: {name}\nSHA256: {sha256 or hashlib.sha256(content).hexdigest()}"
        for name, content in files.items()
    ]
    files[debian.INDEX] = lzma.compress("\n\n".join(entries).encode())
    monkeypatch.setattr(libreoffice, "download", files.__getitem__)
    monkeypatch.setattr(debian, "download", files.__getitem__)


def pages_in(language: str) -> dict[str, str]:
    return {f"{n}": page(f"{language} title {n}", chr(65 + n), f"{language} number {n}") for n in range(12)}


def test_a_corpus_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(libreoffice, "HELD_OUT_PAIRS", 4)
    serve(monkeypatch, *packages())
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
        (package({}, content=b"no xz"), None, "cannot have libreoffice-help-de"),
        (package(pages_in("English"), "en-US"), None, "no page of LibreOffice's help in de"),
        (package({}, content=lzma.compress(bytes(999))[:-20]), None, "is cut short"),
        (package({}, content=lzma.compress(bytes(100_001))), None, "more than 100000 bytes"),
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
    serve(monkeypatch, packages()[0], german, sha256)
    monkeypatch.setattr(debian, "MAX_BYTES", 100_000)
    assert get_corpus.main([libreoffice.NAME, str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    assert says in said and "libreoffice-help-de.deb" in said
    assert not list(tmp_path.iterdir())


def test_packages_may_be_put_there_by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(libreoffice, "HELD_OUT_PAIRS", 4)
    monkeypatch.delattr(libreoffice, "download")
    for name, content in zip(libreoffice.PACKAGES, packages(), strict=True):
        (tmp_path / f"{name}.deb").write_bytes(content)
    assert get_corpus.main([libreoffice.NAME, str(tmp_path)]) == 0


def test_a_bad_package_put_there_by_hand_is_to_be_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in libreoffice.PACKAGES:
        (tmp_path / f"{name}.deb").write_bytes(b"!<arch>\n")
    assert get_corpus.main([libreoffice.NAME, str(tmp_path)]) == 2
    assert f"delete {tmp_path / 'libreoffice-help-en-us.deb'}" in capsys.readouterr().err
