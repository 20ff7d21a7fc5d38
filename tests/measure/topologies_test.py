import pytest

from logocap_jax.measure import topologies


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("v5e:16x16", (16, 16)),
        ("v5p:4x4x8", (4, 4, 8)),
        ("v6e:1x1", (1, 1)),
        ("h200:8", (8,)),
        ("cpu:8", (8,)),
    ],
)
def test_name_gives_the_shape(name, shape):
    topology = topologies.parse_topology(name)
    assert topology.shape == shape
    assert (topology.chip is None) == name.startswith("cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v5e", "expected such as cpu:8, v5e:2x2, v5p:2x2x2, v6e:2x2, a100:2, h100:2"),
        ("abacus:2x2", "got topology 'abacus:2x2', expected such as"),
        ("v5e:0x4", "expected such as"),
        ("v5e:4x", "expected such as"),
        ("v5e:4x4x4", "expected 2 sides and at most 256 devices for v5e"),
        ("v5p:4x4", "expected 3 sides"),
        ("v5e:32x16", "at most 256 devices"),
        ("h200:16", "expected 1 sides and at most 8 devices for h200"),
        ("cpu:2x2", "expected 1 sides"),
        ("cpu:0", "expected such as"),
    ],
)
def test_names_of_nothing_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        topologies.parse_topology(name)


@pytest.mark.parametrize(
    ("name", "links"),
    [("v5p:4x4x8", 8), ("v6e:1x1", 0), ("h200:8", 1), ("a100:1", 0)],
)
def test_a_torus_is_as_wide_as_its_sides_and_a_switch_one_link(name, links):
    assert topologies.parse_topology(name).diameter == links
