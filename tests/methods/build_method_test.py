import pytest

from logocap_jax.methods import build_method


@pytest.mark.parametrize(
    ("name", "result"), [("logocap", "logocap"), ("center_offset", "initial")]
)
def test_a_method_is_built_from_its_name_alone(name, result):
    assert build_method(name, {}).result == result


def test_unknown_method_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'dekr'.*center_offset.*logocap"):
        build_method("dekr", {})


@pytest.mark.parametrize("name", ["logocap", "center_offset"])
def test_unknown_setting_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=r"\['nun_slots'\].*num_slots"):
        build_method(name, {"nun_slots": 3})


def test_setting_of_another_method_is_refused():
    with pytest.raises(ValueError, match=r"KeypointerConfig.*mesh_size"):
        build_method("center_offset", {"mesh_size": 3})


def test_unknown_size_of_the_backbone_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"HRNetConfig.*\['width'\].*channels"):
        build_method("logocap", {"backbone": {"width": 32}})


def test_backbone_without_channels_is_refused_in_words():
    with pytest.raises(ValueError, match="channels"):
        build_method("logocap", {"backbone": {"blocks": 2}})
