"""What is drawn of one window: kept beside its report, which is read far more often."""

from __future__ import annotations

from tasks.spec.base import Spec
from tasks.spec.evidence import Plot
from tasks.spec.groupings import EmbeddingMap


class Pictures(Spec):
    plots: tuple[Plot, ...] = ()
    """Of expert rules and attributions."""
    map: EmbeddingMap | None = None
