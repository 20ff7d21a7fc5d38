import jax
import jax.numpy as jnp
import pytest

from logocap_jax.device_memory import DoesNotFitError
from logocap_jax.measure import programs
from logocap_jax.measure.programs import Memory

GIB = 2**30
LARGE = Memory(arguments=GIB, outputs=GIB, aliased=GIB, temporary=2 * GIB, code=0)


def test_a_matrix_product_has_the_operations_and_bytes_that_it_must_have():
    side = 64
    matrix = jax.ShapeDtypeStruct((side, side), jnp.float32)
    program = programs.compile_program(jnp.matmul, matrix, matrix)
    assert program.flops == 2 * side**3
    assert program.memory.arguments == 2 * side**2 * 4
    assert program.memory.outputs == side**2 * 4
    assert program.compile_seconds > 0
    assert float(program.run(jnp.ones((side, side)), jnp.eye(side))[0, 0]) == 1


def test_a_donated_argument_is_counted_once():
    vector = jax.ShapeDtypeStruct((1000,), jnp.float32)
    memory = programs.compile_program(
        jax.jit(lambda x: x + 1, donate_argnums=0), vector
    ).memory
    assert memory.aliased == 4000
    assert memory.total == 4000 + memory.temporary + memory.code


def test_a_program_that_does_not_fit_says_what_it_needs_and_what_is_there():
    programs.require_fit(LARGE, 3 * GIB)
    programs.require_fit(LARGE, None)
    programs.require_fit(None, 1)
    with pytest.raises(DoesNotFitError) as caught:
        programs.require_fit(LARGE, 2 * GIB)
    assert str(caught.value) == (
        "needs 3.00 GiB of device memory (2.00 GiB of them temporary), "
        "2.00 GiB is there"
    )
