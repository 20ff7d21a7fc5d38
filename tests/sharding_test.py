import jax
import numpy as np
import pytest
from jax.sharding import Mesh

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
