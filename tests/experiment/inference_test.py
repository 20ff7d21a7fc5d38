import pytest

from logocap_jax.experiment.evaluation import answer_set
from logocap_jax.methods import build_method
from logocap_jax.methods.initial_poses import TINY


@pytest.mark.parametrize(
    ("suffixes", "expected"),
    [
        ([""], "initial"),
        (["", "_ema"], "initial_ema"),
        (["_ema", ""], "initial_ema"),  # whatever is evaluated last
    ],
)
def test_the_answer_is_that_of_the_average_where_there_is_one(suffixes, expected):
    method = build_method("center_offset", TINY)
    assert answer_set(method, suffixes) == expected
