import dataclasses

import jax
import pytest

from logocap_jax import skeletons
from logocap_jax.methods import build_method
from logocap_jax.skeletons import Skeleton
from logocap_jax.weights.settings import read_settings

FOX = Skeleton("fox", ("nose", "ear", "tail"), (0.05,) * 3, ((0, 1), (0, 2)))


@pytest.fixture(scope="module")
def shapes(small_settings):
    """Makes the shapes of a model's variables for a skeleton."""
    net = {"embedding": 2, "message_channels": (4, 4, 4), "affines": 2}

    def make(skeleton):
        plain = {"skeleton": dataclasses.asdict(skeleton)}
        method = build_method("logocap", small_settings | net | plain)
        return jax.eval_shape(method.init, jax.random.key(0))

    return make


@pytest.mark.parametrize("skeleton", skeletons.KNOWN.values(), ids=lambda s: s.name)
def test_the_public_skeletons_are_known_by_their_number_of_keypoints(shapes, skeleton):
    found = read_settings(shapes(skeleton))
    assert found["skeleton"] == dataclasses.asdict(skeleton)


def test_of_others_it_must_be_said(shapes):
    with pytest.raises(ValueError, match=r"3 keypoints.*--skeleton DIR"):
        read_settings(shapes(FOX))
    found = read_settings(shapes(FOX), FOX)
    assert found["skeleton"] == dataclasses.asdict(FOX)
    assert build_method(found.pop("name"), found).answer == "logocap"


def test_a_skeleton_of_another_size_is_refused(shapes):
    with pytest.raises(ValueError, match="for 17 keypoints, expected the 3 of skele"):
        read_settings(shapes(skeletons.COCO), FOX)
