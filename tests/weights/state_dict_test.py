import numpy as np
import pytest

from logocap_jax.weights.files import to_state_dict, to_variables
from logocap_jax.weights.trees import flatten, unflatten


def test_state_dict_survives_the_round_trip_bit_for_bit(tiny_state):
    variables, report = to_variables(tiny_state)
    assert report.complete
    back = to_state_dict(variables)
    assert back.keys() == tiny_state.keys()
    for key, array in tiny_state.items():
        if key.endswith("num_batches_tracked"):
            assert back[key].dtype == np.int64
            assert back[key].shape == ()
            assert back[key] == 0
        else:
            assert back[key].dtype == array.dtype
            assert back[key].shape == array.shape
            assert back[key].tobytes() == array.tobytes()


def test_variables_hold_known_elements_of_the_state_dict(tiny_state, tiny_variables):
    variables = tiny_variables
    params, stats = variables["params"], variables["batch_stats"]
    stem = params["dense"]["backbone"]["stem_conv1"]["kernel"]
    assert stem.shape == (3, 3, 3, 64)
    assert stem[0, 2, 1, 7] == tiny_state["backbone.conv1.weight"][7, 1, 0, 2]
    norm = params["maps"]["message1_norm"]
    np.testing.assert_array_equal(norm["scale"], tiny_state["joints_mlp.4.weight_"])
    attention = tiny_state["joints_mlp.4.attn_weights.attention.0.weight"]
    np.testing.assert_array_equal(norm["attention"]["kernel"], attention[:, :, 0, 0].T)
    np.testing.assert_array_equal(
        stats["dense"]["offset_head"]["norm"]["var"],
        tiny_state["transition_reg.1.running_var"],
    )


def test_all_arrays_are_contiguous_as_safetensors_needs(tiny_variables):
    assert all(leaf.flags.c_contiguous for leaf in flatten(tiny_variables).values())


def test_unknown_missing_and_misshaped_arrays_are_reported(tiny_state):
    state = dict(tiny_state)
    del state["backbone.stage4.1.branches.3.1.conv2.weight"]
    state["classifier.weight"] = np.zeros((1000, 2048), np.float32)
    state["final_layer_cls.bias"] = np.zeros(15, np.float32)
    variables, report = to_variables(state, partial=True)
    missing = "params/dense/backbone/stage4_module1/branch3_block1/conv2/kernel"
    bias = "params/dense/heatmap_head/output/bias"
    assert report.unused == ["classifier.weight"]
    assert report.missing == [missing]
    assert report.wrong_shape == [f"{bias}: got (15,), expected (18,)"]
    assert {missing, bias}.isdisjoint(flatten(variables))
    assert len(report.used) == len(flatten(variables))
    with pytest.raises(ValueError, match=r"1 arrays unused \(first: classifier.weight"):
        to_variables(state)


@pytest.mark.parametrize("head", ["transition_", "final_layer", "joints_mlp"])
def test_absent_head_is_missing_not_a_smaller_model(tiny_state, head):
    state = {k: v for k, v in tiny_state.items() if not k.startswith(head)}
    if head == "final_layer":
        state = {k: v for k, v in state.items() if not k.startswith("transition_reg")}
    with pytest.raises(ValueError, match=r"missing|not among"):
        to_variables(state)


def test_array_of_wrong_rank_is_reported_not_a_crash(tiny_state):
    state = {**tiny_state, "backbone.conv2.weight": np.zeros((64, 64), np.float32)}
    _, report = to_variables(state, partial=True)
    assert report.wrong_shape == [
        "params/dense/backbone/stem_conv2/kernel: got (64, 64), expected (3, 3, 64, 64)"
    ]


def test_given_expectation_decides_what_fits(tiny_state, tiny_variables):
    expected = {name: {"dense": tree["dense"]} for name, tree in tiny_variables.items()}
    variables, report = to_variables(tiny_state, expected=expected, partial=True)
    assert flatten(variables).keys() == flatten(expected).keys()
    assert all(key.startswith("joints_mlp.") for key in report.unused)
    with pytest.raises(ValueError, match="joints_mlp"):
        to_variables(tiny_state, expected=expected)


def test_path_without_torch_key_is_refused_by_name():
    variables = {"params": {"dense": {"neck": {"kernel": np.ones(1)}}}}
    with pytest.raises(ValueError, match="params/dense/neck/kernel: the PyTorch model"):
        to_state_dict(variables, method="logocap")
    with pytest.raises(
        ValueError, match="such as 'params/dense/neck/kernel', expected"
    ):
        to_state_dict(variables)


def test_half_precision_is_kept(tiny_state):
    state = {key: array.astype(np.float16) for key, array in tiny_state.items()}
    variables, _ = to_variables(state)
    assert {leaf.dtype for leaf in flatten(variables).values()} == {np.dtype("f2")}


@pytest.mark.parametrize("order", [["a", "a/b"], ["a/b", "a"]])
def test_path_that_is_leaf_and_folder_is_refused(order):
    with pytest.raises(ValueError, match=r"leaf|folder"):
        unflatten(dict.fromkeys(order, 1))
