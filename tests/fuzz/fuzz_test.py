"""A short run of each fuzz target; `python -m tests.fuzz SECONDS` runs long ones."""

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.targets import TARGETS

EXAMPLES = 150


@pytest.mark.row("fuzz")
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_spoiled_input_is_refused_in_one_line_or_harmless(target, record_property):
    record_property("cases", EXAMPLES)
    short = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    short(target)()
