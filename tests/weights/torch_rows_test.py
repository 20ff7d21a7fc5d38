import dataclasses

import numpy as np
import pytest

from logocap_jax.methods import METHODS, find_format

FORMAT = find_format("logocap")


@pytest.mark.parametrize("name", ["w32", "w48"])
def test_every_released_key_matches_one_row_and_returns_from_its_path(manifests, name):
    keys = [key for key in manifests[name] if not key.endswith("num_batches_tracked")]
    entries = [FORMAT.find_key(key) for key in keys]
    assert None not in entries
    assert [FORMAT.find_path(entry.path).key for entry in entries] == keys
    assert len({entry.path for entry in entries}) == len(keys)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("backbone.conv2.weight", "params/dense/backbone/stem_conv2/kernel"),
        ("backbone.bn1.running_var", "batch_stats/dense/backbone/stem_norm1/var"),
        (
            "backbone.layer1.3.bn2.weight",
            "params/dense/backbone/layer1_block3/norm2/scale",
        ),
        (
            "backbone.layer1.0.downsample.0.weight",
            "params/dense/backbone/layer1_block0/shortcut_conv/kernel",
        ),
        (
            "backbone.layer1.0.downsample.1.running_mean",
            "batch_stats/dense/backbone/layer1_block0/shortcut_norm/mean",
        ),
        (
            "backbone.transition1.0.1.bias",
            "params/dense/backbone/transition1_branch0/norm/bias",
        ),
        (
            "backbone.transition1.1.0.0.weight",
            "params/dense/backbone/transition1_branch1/conv/kernel",
        ),
        (
            "backbone.transition3.3.0.1.weight",
            "params/dense/backbone/transition3_branch3/norm/scale",
        ),
        (
            "backbone.stage4.2.branches.3.1.conv2.weight",
            "params/dense/backbone/stage4_module2/branch3_block1/conv2/kernel",
        ),
        (
            "backbone.stage4.2.fuse_layers.0.3.0.weight",
            "params/dense/backbone/stage4_module2/fuse0_from3_step0/conv/kernel",
        ),
        (
            "backbone.stage3.1.fuse_layers.2.0.1.1.running_var",
            "batch_stats/dense/backbone/stage3_module1/fuse2_from0_step1/norm/var",
        ),
        ("final_layer_cls.bias", "params/dense/heatmap_head/output/bias"),
        ("transition_reg.0.weight", "params/dense/offset_head/conv/kernel"),
        ("transition_embedding.1.bias", "params/dense/embedding_head/norm/bias"),
        ("joints_mlp.7.running_mean", "batch_stats/maps/message2_norm/mean"),
        ("joints_mlp.4.bias_", "params/maps/message1_norm/bias"),
        (
            "joints_mlp.4.attn_weights.attention.0.weight",
            "params/maps/message1_norm/attention/kernel",
        ),
        ("joints_mlp.9.weight", "params/maps/output/kernel"),
    ],
)
def test_key_and_path_name_the_same_array(key, path):
    assert FORMAT.find_key(key).path == path
    assert FORMAT.find_path(path).key == key


@pytest.mark.parametrize(
    "key",
    [
        "conv1.weight",
        "backbone.conv1.weight.more",
        "backbone.conv1.bias",
        "backbone.transition2.1.0.0.weight",
        "backbone.stage4.2.fuse_layers.0.3.0.0.weight",  # one step up, not several
        "backbone.stage4.2.fuse_layers.3.0.0.weight",
        "backbone.stage4.2.fuse_layers.1.1.0.weight",
        "incre_modules.0.0.conv1.weight",
    ],
)
def test_key_of_another_model_has_no_entry(key):
    assert FORMAT.find_key(key) is None


@pytest.mark.parametrize(
    "path",
    [
        "dense/backbone/stem_conv1/kernel",
        "batch_stats/dense/backbone/stem_conv1/kernel",
        "params/dense/backbone/stem_norm1/mean",
        "params/dense/backbone/stage2_module0/fuse0_from1_step1/conv/kernel",
    ],
)
def test_path_of_another_model_has_no_entry(path):
    assert FORMAT.find_path(path) is None


@pytest.mark.parametrize(
    ("key", "shape", "moved"),
    [
        ("backbone.conv1.weight", (2, 3, 4, 5), (4, 5, 3, 2)),
        ("joints_mlp.4.attn_weights.attention.0.weight", (2, 3, 1, 1), (3, 2)),
        ("joints_mlp.4.weight_", (2, 3), (2, 3)),
    ],
)
def test_layout_moves_axes_and_moves_them_back(key, shape, moved):
    array = np.arange(np.prod(shape)).reshape(shape)
    layout = FORMAT.find_key(key).leaf.layout
    ours = layout.from_torch(array)
    assert ours.shape == moved
    np.testing.assert_array_equal(layout.to_torch(ours), array)


def test_kernel_element_lands_where_its_name_says():
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    ours = FORMAT.find_key("backbone.conv1.weight").leaf.layout.from_torch(kernel)
    assert ours[3, 4, 2, 1] == kernel[1, 2, 3, 4]


def test_the_baseline_has_the_same_names_for_what_it_shares():
    baseline = find_format("center_offset")
    for row in baseline.rows:
        assert row in FORMAT.rows
    assert baseline.find_key("joints_mlp.0.weight") is None


@pytest.mark.parametrize("name", METHODS)
def test_no_two_rows_of_a_table_name_the_same_module(name):
    rows = find_format(name).rows
    assert len({row.torch for row in rows}) == len({row.path for row in rows})
    assert len({row.torch for row in rows}) == len(rows)


def test_two_rows_for_one_key_are_a_mistake_that_is_told():
    twice = dataclasses.replace(FORMAT, rows=FORMAT.rows + FORMAT.rows[:1])
    with pytest.raises(ValueError, match="2 rows of the table match, expected 1"):
        twice.find_key("backbone.conv1.weight")
