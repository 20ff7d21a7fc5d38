import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from logocap_jax.ops.peaks import largest
from logocap_jax.sharding import batch_sharding, make_mesh


@pytest.mark.parametrize(
    ("size", "count", "kinds"),
    [(1, 1, 2), (30, 30, 3), (64, 4, 2), (1000, 3, 4), (1000, 30, 1000), (5003, 7, 9)],
)
def test_values_and_positions_are_those_of_top_k(size, count, kinds):
    values = np.random.default_rng(size).integers(-2, kinds, (3, size))
    values = jnp.asarray(values, jnp.float32)
    found = jax.vmap(lambda row: largest(row, count))(values)
    expected = jax.vmap(lambda row: lax.top_k(row, count))(values)
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_batch_that_is_split_over_devices_stays_where_it_is():
    rows = jax.ShapeDtypeStruct(
        (16, 4096), jnp.float32, sharding=batch_sharding(make_mesh())
    )
    program = jax.jit(jax.vmap(lambda row: largest(row, 5))).lower(rows).compile()
    assert not re.search(r"all-gather|all-to-all|all-reduce", program.as_text())
