"""Which models there are, and where the configuration of each stands below a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from tasks.spec.base import Spec, load_yaml
from tasks.spec.errors import ConfigError

LISTED = "deployments/models.yaml"
"""Where the models are listed, below a checkout."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}$")]


class ModelList(Spec):
    """``deployments/models.yaml``: the models that DVC, Prefect and the service know."""

    models: Annotated[tuple[Name, ...], Field(min_length=1)]


def model_names(root: Path) -> tuple[str, ...]:
    return load_yaml(root / LISTED, ModelList).models


def model_folder(root: Path, name: str) -> Path:
    return root / "deployments/models" / name


def model_file(root: Path, name: str) -> Path:
    """``model.yaml`` of a listed model.

    Raises:
        ConfigError: the name is not listed.
    """
    known = model_names(root)
    if name not in known:
        raise ConfigError(f"model {name!r} is not listed in {LISTED}; allowed: {', '.join(known)}.")
    return model_folder(root, name) / "model.yaml"
