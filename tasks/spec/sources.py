"""What makes and what judges a model, as ``dvc.yaml`` lists it: the one list that promotion, pushes and CI ask."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.spec.base import parse_yaml
from tasks.spec.errors import ConfigError

ITEM = "${item.model}"


def sources(dvc_yaml: str, model: str) -> tuple[str, ...]:
    """Files and folders whose change calls for an examination of a model.

    Args:
        dvc_yaml: text of ``dvc.yaml`` at the commit in question.

    Returns:
        ``dvc.yaml`` itself, then all ``deps``, the files of ``params``, and ``meta.judged_by``, each once, as paths
        below the repository's root.

    Raises:
        ConfigError: the text lists no stages.
    """
    found = ["dvc.yaml"]
    try:
        for stage in parse_yaml(dvc_yaml, "dvc.yaml")["stages"].values():
            found += stage.get("deps", [])
            found += [file for item in stage.get("params", []) for file in item]
            found += stage.get("meta", {}).get("judged_by", [])
        return tuple(dict.fromkeys(path.replace(ITEM, model) for path in found))
    except (KeyError, TypeError, AttributeError):
        raise ConfigError("dvc.yaml does not say what makes a model: its stages, their deps and params.") from None


def concerns(paths: Iterable[str], dvc_yaml: str, model: str) -> bool:
    """Whether one of the changed ``paths`` is a source of the model, lies in a folder that is one, or is the ``.dvc``
    file that stands for one."""
    listed = sources(dvc_yaml, model)
    return any(
        path in (source, f"{source}.dvc") or path.startswith(f"{source}/") for path in paths for source in listed
    )
