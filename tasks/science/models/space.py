"""What the library of an estimator says of a space that is searched."""

from __future__ import annotations

from tasks.science.models.estimators import build
from tasks.spec.errors import ConfigError
from tasks.spec.model import ModelConfig
from tasks.spec.search import KIND, configured, corners, drawn, making


def refuse_unknown_parameters(config: ModelConfig) -> None:
    """Look whether every kind of estimator knows the parameters that are drawn for it.

    A custom kind is left out: to ask it is to run its code.

    Raises:
        ConfigError: one does not; the message names what is allowed.
    """
    if config.search is None:
        return
    document, asked = making(config), set[str]()
    for _, values in corners(config.search, document):
        kind = values[KIND]
        if kind == "custom" or kind in asked:
            continue
        asked.add(kind)
        try:
            build(configured(drawn(document, values)))
        except ConfigError as error:
            raise ConfigError(f"search.space of {config.name} for {kind}: {error}") from None
