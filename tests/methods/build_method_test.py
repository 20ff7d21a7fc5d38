import re

import pytest

from logocap_jax.methods import build_method


@pytest.mark.parametrize(
    ("name", "result"), [("logocap", "logocap"), ("center_offset", "initial")]
)
def test_a_method_is_built_from_its_name_alone(name, result):
    assert build_method(name, {}).answer == result


def test_unknown_method_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'openpose'.*center_offset.*logocap"):
        build_method("openpose", {})


@pytest.mark.parametrize("name", ["logocap", "center_offset"])
def test_unknown_setting_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=r"\['nun_slots'\].*num_slots"):
        build_method(name, {"nun_slots": 3})


def test_setting_of_another_method_is_refused():
    with pytest.raises(ValueError, match=r"InitialPosesConfig.*mesh_size"):
        build_method("center_offset", {"mesh_size": 3})


def test_unknown_size_of_the_backbone_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"HRNetConfig.*\['width'\].*channels"):
        build_method("logocap", {"backbone": {"width": 32}})


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("num_slots", 0, "num_slots=0, expected more than 0"),
        ("heatmap_sigma", -1.0, "heatmap_sigma=-1.0, expected more than 0"),
        ("offset_radius", -1, "offset_radius=-1, expected 0 or more"),
        ("dtype", "float99", "dtype='float99', expected one of"),
        ("test_scales", (), "test_scales=(), expected different numbers above 0"),
        ("test_scales", (0.5, 2.0), "test_scales=(0.5, 2.0), expected"),
        ("test_scales", (1.0, 1), "test_scales=(1.0, 1), expected"),
        ("test_scales", (1.0, 0.0), "test_scales=(1.0, 0.0), expected"),
        ("test_scales", (1.0, float("nan")), "test_scales=(1.0, nan), expected"),
        ("mesh_size", 4, "mesh_size=4, expected odd"),
        ("window_sigma", 0.0, "window_sigma=0.0, expected more than 0, or None"),
        ("refine_with", "kan", "refine_with='kan', expected one of"),
        ("attentive_layer", 3, "attentive_layer=3, expected None or 0 to 2"),
        ("backbone", {"channels": 0}, "channels=0, expected 1 or more"),
        ("backbone", {"channels": 8, "modules": (1, -1, 1)}, "modules="),
    ],
)
def test_setting_without_a_meaning_is_refused(setting, value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build_method("logocap", {setting: value})


def test_backbone_without_channels_is_refused_in_words():
    with pytest.raises(ValueError, match="channels"):
        build_method("logocap", {"backbone": {"blocks": 2}})
