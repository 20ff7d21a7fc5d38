import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods.stages import map_valid

ROWS = 7


def _function(rows):
    return {"sum": rows["a"] + rows["b"][:, 0], "pair": jnp.exp(rows["b"])}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    arrays = {"a": rng.standard_normal(ROWS), "b": rng.standard_normal((ROWS, 2))}
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), arrays)


@pytest.fixture(scope="module", params=[1, 3, ROWS])
def mapped(request):
    """The jitted map, for chunks that divide the rows, others, and all rows."""
    return jax.jit(functools.partial(map_valid, _function, chunk=request.param))


@pytest.mark.parametrize("count", range(ROWS + 1))
def test_results_of_valid_rows_are_those_of_the_function(count, rows, mapped):
    valid = np.random.default_rng(count).permutation(ROWS) < count
    expected = _function(rows)
    found = mapped(rows, valid)
    for name, array in found.items():
        assert array.shape == expected[name].shape
        np.testing.assert_allclose(array[valid], expected[name][valid], rtol=1e-6)


@pytest.mark.parametrize(("count", "steps"), [(0, 0), (1, 1), (3, 1), (4, 2), (7, 3)])
def test_steps_follow_the_number_of_valid_rows(count, steps):
    seen = []

    def function(rows):
        jax.debug.callback(lambda rows: seen.append(len(rows)), rows)
        return rows

    valid = jnp.arange(ROWS)[::-1] < count
    jax.block_until_ready(map_valid(function, jnp.arange(ROWS), valid, chunk=3))
    jax.effects_barrier()
    assert seen == [3] * steps


def test_one_program_does_for_any_number_of_valid_rows(rows):
    traced = []

    def function(rows):
        traced.append(1)
        return rows["a"]

    run = jax.jit(functools.partial(map_valid, function, chunk=2))
    run(rows, jnp.zeros(ROWS, bool))
    before = len(traced)
    run(rows, jnp.ones(ROWS, bool))
    assert len(traced) == before


def test_rows_of_a_batch_of_unknown_size_can_be_exported(rows):
    shape = jax.export.symbolic_shape("batch, 3")

    def run(values):
        valid = (values > 0).reshape(-1)
        chunk = 2 * values.shape[0]
        return map_valid(jnp.sqrt, values.reshape(-1), valid, chunk=chunk)

    exported = jax.export.export(jax.jit(run))(jax.ShapeDtypeStruct(shape, jnp.float32))
    values = jnp.asarray([[4.0, -1.0, 9.0], [-1.0, 16.0, 25.0]])
    found = np.asarray(exported.call(values))
    np.testing.assert_allclose(found[[0, 2, 4, 5]], [2, 3, 4, 5])
