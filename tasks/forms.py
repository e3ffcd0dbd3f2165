"""What a flow's form in the Prefect UI offers: each request, with a drop-down of the models."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pydantic import create_model
from pydantic.fields import FieldInfo

from tasks.spec.models import model_names
from tasks.spec.requests import Request
from tasks.spec.settings import ROOT


def form_signature(story: Callable[[Any], Any]) -> inspect.Signature:
    """A flow's signature, whose request takes its model from ``deployments/models.yaml``.

    Prefect makes the form, and validates what comes in, by this signature; an enumeration becomes a drop-down.

    Args:
        story: a function of one ``request``, annotated with a schema of :mod:`tasks.spec.requests`.
    """
    signature = inspect.signature(story, eval_str=True)
    request = signature.parameters["request"]
    return signature.replace(parameters=[request.replace(annotation=_with_models(request.annotation))])


def _with_models(schema: type[Request]) -> type[Request]:
    """The schema with the models' names as the allowed values of ``model``; a validated request holds plain text."""
    names = StrEnum("ModelName", {name: name for name in model_names(ROOT)})  # type: ignore[misc]
    field = FieldInfo(annotation=names, description=schema.model_fields["model"].description)
    return create_model(schema.__name__, __base__=schema, __doc__=schema.__doc__, model=(names, field))  # type: ignore[call-overload,no-any-return]
