import re

import jax
import jax.numpy as jnp
import pytest

from logocap_jax import device_memory
from logocap_jax.device_memory import DoesNotFitError, explaining_memory

ADVICE = "a smaller batch_size lowers it"


def _explain(message):
    with pytest.raises(DoesNotFitError) as caught, explaining_memory(ADVICE):
        raise jax.errors.JaxRuntimeError(message)
    return str(caught.value)


def test_a_program_that_is_too_large_for_this_machine_is_explained():
    @jax.jit
    def outer(x):
        return jnp.sort(x[:, None] + x[None], axis=1)

    with pytest.raises(DoesNotFitError) as caught, explaining_memory(ADVICE):
        jax.block_until_ready(outer(jnp.zeros(2**22)))  # 64 TiB
    assert re.fullmatch(
        r"asks for 65536\.00 GiB of device memory in one piece, "
        r"\d+\.\d\d GiB is there; " + ADVICE,
        str(caught.value),
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param(
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in "
            "memory space hbm. Used 17.70G of 15.75G hbm. Exceeded hbm capacity by "
            "1.95G.\n\nTotal hbm usage >= 18.20G:\n    reserved   512.00M",
            "needs 17.70 GiB of device memory, 15.75 GiB is there; ",
            id="compiler for a TPU",
        ),
        pytest.param(
            "RESOURCE_EXHAUSTED: Error allocating device buffer: Attempting to "
            "allocate 2.25G. That was not possible. There are 768.50M free.; "
            "(0x0x0_HBM0)",
            "asks for 2.25 GiB of device memory in one piece, 0.75 GiB is free; ",
            id="TPU",
        ),
        pytest.param(
            "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12884901888 "
            "bytes.",
            "asks for 12.00 GiB of device memory in one piece, 3.00 GiB is there; ",
            id="GPU",
        ),
        pytest.param(
            "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12.50GiB.",
            "asks for 12.50 GiB of device memory in one piece, 3.00 GiB is there; ",
            id="newer GPU",
        ),
        pytest.param(
            "RESOURCE_EXHAUSTED: Failed to allocate request for 2.99GiB (3206250496B) "
            "on device ordinal 0",
            "asks for 2.99 GiB of device memory in one piece, 3.00 GiB is there; ",
            id="older GPU",
        ),
        pytest.param(
            "RESOURCE_EXHAUSTED: something\nnew",
            "needs more device memory than there is (RESOURCE_EXHAUSTED: something "
            "new); ",
            id="unknown",
        ),
    ],
)
def test_sizes_are_read_off_what_xla_says(monkeypatch, message, expected):
    monkeypatch.setattr(device_memory, "available_memory", lambda: 3 * 2**30)
    assert _explain(message) == expected + ADVICE


def test_what_a_program_needs_is_told_where_it_is_known(monkeypatch):
    monkeypatch.setattr(device_memory, "available_memory", lambda: None)
    with (
        pytest.raises(DoesNotFitError) as caught,
        explaining_memory(needed="needs 3.00 GiB"),
    ):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    assert str(caught.value) == "needs 3.00 GiB, an unknown amount is there"


def test_other_errors_of_the_device_pass_through():
    with (
        pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"),
        explaining_memory(ADVICE),
    ):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")
