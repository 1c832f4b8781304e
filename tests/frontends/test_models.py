"""Models as people write them (`models`): exact, or refused by a name with a form beside it that is exact."""

from __future__ import annotations

import os

import pytest

from tests.frontends.environments import VARIABLE
from tests.frontends.models import FRAMEWORKS, judged

MODELS = FRAMEWORKS[os.environ[VARIABLE]]()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_exact_or_refused_with_a_form_that_works(name: str) -> None:
    case, found = MODELS[name], judged(MODELS[name])
    assert found.get("refused", "") == case.refused, found
    if case.refused:
        assert not MODELS[case.instead].refused
    else:
        assert found["decisions"] > 20
        assert found["different"] == 0, found
