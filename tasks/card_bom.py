"""The bill of materials of a version: CycloneDX 1.6, of its environment, its data and its model file."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

PINNED = re.compile(r"(?m)^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\\n]+))?")
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:assay:card")
SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


def bill(
    model: str, version: str, commit: str, title: str, lock: str, digest: str, files: list[dict[str, Any]], time: str
) -> dict[str, Any]:
    """The bill as JSON; of equal arguments it is equal, so that it can be compared.

    Args:
        lock: text of ``requirements.lock``.
        digest: of the model file, ``sha256:<hex>``; another text is left out.
        files: that the rows came from, each with ``name`` and ``sha256``.
        time: ISO 8601, when the version was entered.
    """
    root = Component(
        name=model, version=version, type=ComponentType.MACHINE_LEARNING_MODEL, bom_ref=f"{model}@{version}",
        description=title or None, hashes=_hashes(digest), properties=[Property(name="assay:commit", value=commit)],
    )  # fmt: skip
    parts = [_package(name, pinned, (marker or "").strip()) for name, pinned, marker in PINNED.findall(lock)]
    parts += [
        Component(
            name=str(file.get("name")), type=ComponentType.DATA, bom_ref=f"data:{at}",
            hashes=_hashes(str(file.get("sha256"))),
        )
        for at, file in enumerate(files)
    ]  # fmt: skip
    made = Bom(
        components=parts,
        serial_number=uuid.uuid5(NAMESPACE, f"{model} {version} {commit}"),
        metadata=BomMetaData(component=root, timestamp=_moment(time)),
    )
    made.register_dependency(root, parts)
    document: dict[str, Any] = json.loads(JsonV1Dot6(made).output_as_string())
    document["metadata"].pop("tools", None)  # what writes it is no part of it
    return document


def _package(name: str, version: str, marker: str) -> Component:
    plain = re.sub(r"[-_.]+", "-", name).lower()
    address = PackageURL("pypi", None, plain, version)
    where = [Property(name="assay:marker", value=marker)] if marker else []
    ref = f"{address.to_string()}#{marker}" if marker else address.to_string()
    return Component(
        name=plain, version=version, type=ComponentType.LIBRARY, purl=address, bom_ref=ref, properties=where
    )


def _hashes(digest: str) -> list[HashType]:
    found = SHA256.fullmatch(digest)
    return [HashType(alg=HashAlgorithm.SHA_256, content=found[1])] if found else []


def _moment(time: str) -> datetime:
    try:
        found = datetime.fromisoformat(time)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
