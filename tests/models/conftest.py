import jax
import numpy as np
import pytest

from logocap_jax.models.hrnet import HRNetConfig


@pytest.fixture(scope="session")
def smallest():
    """An HRNet with each kind of layer once."""
    return HRNetConfig(
        channels=4,
        stem_channels=4,
        layer1_channels=4,
        layer1_blocks=1,
        modules=(1, 1, 1),
        blocks=1,
    )


@pytest.fixture(scope="session")
def fill():
    """Fill shapes with values under which activations keep their size."""

    def fill_leaf(path, leaf):
        rng = np.random.default_rng(sum(map(ord, jax.tree_util.keystr(path))))
        values = rng.standard_normal(leaf.shape)
        if leaf.ndim > 1:
            values *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
        else:
            values = 1 + 0.1 * values
        return values.astype(np.float32)

    return lambda tree: jax.tree_util.tree_map_with_path(fill_leaf, tree)
