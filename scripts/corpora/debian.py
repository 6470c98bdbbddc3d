"""Files out of packages of Debian's archive."""

import hashlib
import io
import lzma
import re
import tarfile
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

ARCHIVE = "https://deb.debian.org/debian/"
INDEX = "dists/bookworm/main/binary-all/Packages.xz"
DOWNLOAD_LIMIT_S = 60
MAX_BYTES = 2**27  # of a download, and of what is packed in it


class Download(NamedTuple):
    """A package's file, as Debian's index names it."""

    path: str
    sha256: str


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


def downloaded(index: str, package: str) -> bytes:
    """The content of a package.

    Raises:
        OSError, ValueError: It cannot be had, or is another file than the index names.
    """
    wanted = find(index, package)
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


def files(package: bytes, path: re.Pattern[str]) -> Iterator[tuple[re.Match[str], bytes]]:
    """The files of a package whose whole path is a match, with it, in its order.

    Nothing is extracted, so that no path is trusted.

    Raises:
        ValueError, tarfile.TarError, lzma.LZMAError: It is no package.
    """
    with tarfile.open(fileobj=io.BytesIO(unpacked(data_member(package))), mode="r:") as archive:
        for member in archive:
            found = path.fullmatch(member.name)
            # a sparse one may be larger than what holds it
            file = archive.extractfile(member) if found and member.isfile() and not member.issparse() else None
            if found and file:
                yield found, file.read()


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
