import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from logocap_jax.models.layers import BatchNorm
from logocap_jax.sharding import (
    batch_sharding,
    check_batch_size,
    make_mesh,
    put_batch,
    replicated,
)


def mesh_of(count):
    return Mesh(np.asarray(jax.devices()[:count]), ("data",))


def test_mesh_is_one_axis_of_all_devices():
    mesh = make_mesh()
    assert mesh.axis_names == ("data",)
    assert list(mesh.devices) == jax.devices()
    assert mesh.devices.size == 8


@pytest.mark.parametrize(("size", "devices"), [(8, 8), (48, 8), (7, 1), (12, 4)])
def test_a_batch_that_devices_divide_is_accepted(size, devices):
    check_batch_size(size, mesh_of(devices), name="batch_size")


@pytest.mark.parametrize(
    ("size", "possible"), [(30, 32), (3, 8), (9, 8), (0, 8), (-5, 8)]
)
def test_a_batch_that_devices_do_not_divide_names_what_is_possible(size, possible):
    with pytest.raises(ValueError, match="do not divide") as caught:
        check_batch_size(size, mesh_of(8), name="eval.batch_size")
    assert str(caught.value) == (
        f"got eval.batch_size={size}, which 8 devices do not divide; try {possible}"
    )


def test_put_batch_gives_each_device_its_rows():
    mesh = mesh_of(4)
    arrays = {
        "image": np.arange(8 * 2, dtype=np.uint8).reshape(8, 2),
        "valid": np.arange(8) < 5,
    }
    placed = put_batch(arrays, mesh)
    assert placed.keys() == arrays.keys()
    for name, array in placed.items():
        assert array.dtype == arrays[name].dtype
        assert array.sharding == batch_sharding(mesh)
        for index, shard in enumerate(array.addressable_shards):
            assert shard.device == mesh.devices[index]
            rows = arrays[name][2 * index : 2 * index + 2]
            np.testing.assert_array_equal(shard.data, rows)


def test_replicated_arrays_are_whole_on_each_device():
    array = jax.device_put(np.arange(6.0), replicated(mesh_of(8)))
    assert array.is_fully_replicated
    assert {shard.data.shape for shard in array.addressable_shards} == {(6,)}


def images_of_unequal_brightness():
    """A batch of 8, so that the statistics of a part are not those of the whole."""
    values = np.random.default_rng(0).normal(size=(8, 6, 6, 3))
    return (values + 3 * np.arange(8)[:, None, None, None]).astype(np.float32)


def normalised(norm, x):
    """What a batch norm makes of a batch in training, and its new statistics."""
    variables = norm.init(jax.random.key(0), x, train=False)
    return norm.apply(variables, x, train=True, mutable=["batch_stats"])


def largest_difference(one, other):
    differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), one, other)
    return max(map(float, jax.tree.leaves(jax.device_get(differences))))


@pytest.mark.row("T2", "T3")
def test_batch_norm_is_global_on_a_mesh_and_statistics_of_parts_would_be_noticed():
    norm, x, mesh = BatchNorm(), images_of_unequal_brightness(), mesh_of(8)

    def normalise(x):
        return normalised(norm, x)

    alone = jax.jit(normalise)(x)
    shared = jax.jit(normalise)(jax.device_put(x, batch_sharding(mesh)))
    assert largest_difference(shared, alone) < 1e-5
    # Negative control: each device for itself, as without a sum over devices.
    in_parts = jax.jit(
        jax.shard_map(
            lambda x: normalise(x)[0],
            mesh=mesh,
            in_specs=PartitionSpec("data"),
            out_specs=PartitionSpec("data"),
        )
    )(x)
    assert largest_difference(in_parts, alone[0]) > 1


@pytest.mark.row("T4")
def test_a_replicated_state_has_the_same_bits_on_all_devices_after_steps():
    norm, mesh = BatchNorm(), mesh_of(8)
    x = jax.device_put(images_of_unequal_brightness(), batch_sharding(mesh))
    variables = norm.init(jax.random.key(0), x, train=False)

    @functools.partial(jax.jit, out_shardings=replicated(mesh))
    def step(params, stats):
        def loss(params):
            y, updated = norm.apply(
                {"params": params, **stats}, x, train=True, mutable=["batch_stats"]
            )
            return jnp.mean(jnp.square(y - 1)), updated

        gradients, updated = jax.grad(loss, has_aux=True)(params)
        moved = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients)
        return moved, updated

    params, stats = variables["params"], {"batch_stats": variables["batch_stats"]}
    for _ in range(3):
        params, stats = step(params, stats)
    for leaf in jax.tree.leaves((params, stats)):
        copies = {np.asarray(shard.data).tobytes() for shard in leaf.addressable_shards}
        assert len(leaf.addressable_shards) == 8
        assert len(copies) == 1
