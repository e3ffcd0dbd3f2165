"""What Prefect validates before a flow starts, by each flow's own form."""

from __future__ import annotations

import pytest
from prefect.exceptions import ParameterTypeError

from flows.monitoring import monitor
from flows.training import train
from tasks.spec.models import model_names
from tests.conftest import ROOT


def test_a_listed_model_is_taken_as_plain_text() -> None:
    for name in model_names(ROOT):
        request = train.validate_parameters({"request": {"model": name}})["request"]
        assert (type(request.model), request.model, request.revision) == (str, name, "main")


def test_a_wrong_model_is_refused_with_those_that_are_allowed() -> None:
    allowed = ", ".join(f"'{name}'" for name in model_names(ROOT)[:-1]) + f" or '{model_names(ROOT)[-1]}'"
    for flow in (train, monitor):
        with pytest.raises(ParameterTypeError, match=f"Input should be {allowed}"):
            flow.validate_parameters({"request": {"model": "incme"}})
