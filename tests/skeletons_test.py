import dataclasses
import json

import pytest

from logocap_jax.skeletons import COCO, CROWDPOSE, KNOWN, Skeleton, parse_skeleton

FOX = Skeleton(
    name="fox",
    keypoints=("nose", "near_ear", "far_ear"),
    sigmas=(0.05, 0.06, 0.07),
    limbs=((0, 1), (0, 2)),
    flip_pairs=((1, 2),),
    sigmas_from="estimated from again.json",
)


def through_json(skeleton):
    return json.loads(json.dumps(dataclasses.asdict(skeleton)))


@pytest.mark.parametrize("skeleton", [COCO, CROWDPOSE, FOX], ids=lambda s: s.name)
def test_a_skeleton_goes_through_json_unchanged(skeleton):
    assert parse_skeleton(through_json(skeleton)) == skeleton
    assert parse_skeleton(dataclasses.asdict(skeleton)) == skeleton


@pytest.mark.parametrize("content", [None, "coco", [], {}, {"name": "fox"}])
def test_what_is_no_skeleton_is_refused(content):
    with pytest.raises(ValueError, match="wrong or missing part"):
        parse_skeleton(content)


@pytest.mark.parametrize("part", ["keypoints", "sigmas", "limbs", "flip_pairs"])
def test_a_damaged_part_is_refused(part):
    with pytest.raises(ValueError, match=r"skeleton"):
        parse_skeleton(through_json(FOX) | {part: 3})


def test_names_of_limbs_and_sources_do_not_tell_models_apart():
    drawn_otherwise = dataclasses.replace(
        FOX, name="vixen", limbs=(), sigmas_from="given"
    )
    assert drawn_otherwise.settings() == FOX.settings()
    for change in (
        {"sigmas": (0.05, 0.06, 0.08)},
        {"keypoints": ("snout", "near_ear", "far_ear")},
        {"flip_pairs": ()},
    ):
        assert dataclasses.replace(FOX, **change).settings() != FOX.settings()


def test_numbers_of_keypoints_tell_the_public_skeletons_apart():
    assert KNOWN == {17: COCO, 14: CROWDPOSE}
