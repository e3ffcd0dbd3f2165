"""What a model's data must look like: the schema of ``deployments/models/<name>/expectations.yaml``."""

from __future__ import annotations

from typing import Any

from tasks.spec.base import Spec


class Expectations(Spec):
    """Great Expectations by their own names, each a mapping of ``type`` and its arguments, for two tables."""

    ingested: tuple[dict[str, Any], ...] = ()
    """Of the whole source table."""
    prepared: tuple[dict[str, Any], ...] = ()
    """Of the labelled training and holdout rows."""
