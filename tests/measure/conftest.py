import jax
import pytest


@pytest.fixture(scope="session", autouse=True)
def started():
    """JAX, with the devices that all tests share, before a topology asks for fewer."""
    return jax.devices()
