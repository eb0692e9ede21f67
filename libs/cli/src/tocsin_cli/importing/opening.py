"""A file's bytes, unzipped; which format they are; their text."""

from __future__ import annotations

import gzip
import re
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

_GZIP, _ZIP, _OLD_OFFICE, _PDF = b"\x1f\x8b", b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF"
_NOT_TEXT = {_ZIP: "a workbook or ZIP archive", _OLD_OFFICE: "an Excel workbook", _PDF: "a PDF"}
_OFX = re.compile(rb"\AOFXHEADER\s*:|<\?OFX\s|<OFX>")
_LOOKED_AT = 4096
#: Tried in this order where nothing says otherwise: Western European banks that are not on UTF-8 are on cp1252.
_ENCODINGS = ("utf-8", "cp1252", "latin-1")


class Unreadable(Exception):
    """The file as a whole cannot be imported; the message says why and what would help."""


class Format(StrEnum):
    """What a file can be."""

    CSV = "csv"
    OFX = "ofx"
    FACTS = "facts"


@dataclass(frozen=True)
class Source:
    """A file that was read. `digest` is of the content, unzipped."""

    path: Path
    content: bytes
    digest: str

    @property
    def name(self) -> str:
        """Its name, without its folder."""
        return self.path.name


def open_source(path: Path) -> Source:
    """Read a file, through gzip where it is zipped. Raises Unreadable."""
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"cannot be read: {error}") from error
    for beginning, what in _NOT_TEXT.items():
        if content.startswith(beginning):
            raise Unreadable(f"it is {what}, not text: export the transactions as CSV or OFX")
    if not content.strip():
        raise Unreadable("it is empty")
    return Source(path, content, sha256(content).hexdigest())


def format_of(content: bytes) -> Format:
    """OFX by its header or first tag, our facts by the brace of the first object, CSV else."""
    beginning = content[:_LOOKED_AT].removeprefix(BOM_UTF8).lstrip()
    if _OFX.search(beginning):
        return Format.OFX
    return Format.FACTS if beginning.startswith(b"{") else Format.CSV


def encoding_of(content: bytes) -> str:
    """By the byte order mark, else the first of UTF-8, cp1252 and latin-1 that can be."""
    if content.startswith(BOM_UTF8):
        return "utf-8-sig"
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    return next(each for each in _ENCODINGS if _decodes(content, each))


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def text_of(content: bytes, encoding: str) -> str:
    """The text. Raises Unreadable."""
    try:
        return content.decode(encoding)
    except LookupError:
        raise Unreadable(f"{encoding} is no encoding that is known here") from None
    except UnicodeError as error:
        raise Unreadable(f"it is not {encoding}: {error}") from error
