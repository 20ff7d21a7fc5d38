import json

import numpy as np
import pytest

from data_pipeline.read.coco import AnnotationFile
from data_pipeline.read.find_skeleton import estimate_sigmas, read_skeleton
from logocap_jax.skeletons import COCO, CROWDPOSE

NAMES = ["nose", "near_ear", "far_ear", "tail"]
CATEGORY = {"id": 3, "keypoints": NAMES, "skeleton": [[1, 2], [1, 3], [2, 4]]}
SETTINGS = 'name = "fox"\nflip_pairs = [["near_ear", "far_ear"]]\nsigmas = 0.05\n'


@pytest.fixture
def write(tmp_path):
    def write(settings=SETTINGS, category=CATEGORY, annotations=(), again=None):
        content = {"categories": [category], "annotations": list(annotations)}
        (tmp_path / "fox.json").write_text(json.dumps(content))
        (tmp_path / "fox.toml").write_text(settings)
        if again is not None:
            text = json.dumps({"annotations": again})
            (tmp_path / "again.json").write_text(text)
        return AnnotationFile(tmp_path / "fox.json"), tmp_path / "fox.toml"

    return write


def _people(rng, noise, areas):
    truth = np.random.default_rng(7).uniform(0, 100, (len(areas), 4, 2))
    scale = np.sqrt(areas)[:, None, None] * noise[:, None] / np.sqrt(2)
    points = truth + rng.normal(size=truth.shape) * scale  # each axis; d has noise^2
    triplets = np.concatenate([points, np.full((len(areas), 4, 1), 2)], axis=2)
    return [
        {"id": index + 1, "area": area, "keypoints": each.ravel().tolist()}
        for index, (area, each) in enumerate(zip(areas.tolist(), triplets, strict=True))
    ]


def test_names_limbs_pairs_and_sigmas_come_together(write):
    skeleton = read_skeleton(*write())
    assert skeleton.name == "fox"
    assert skeleton.keypoints == tuple(NAMES)
    assert skeleton.limbs == ((0, 1), (0, 2), (1, 3))
    assert skeleton.flip_index.tolist() == [0, 2, 1, 3]
    assert skeleton.sigmas == (0.05,) * 4
    assert skeleton.sigmas_from == "given"


def test_sigmas_may_differ(write):
    table = "[sigmas]\ntail = 0.1\nnose = 0.02\nnear_ear = 0.03\nfar_ear = 0.04\n"
    skeleton = read_skeleton(*write('name = "fox"\n' + table))
    assert skeleton.sigmas == (0.02, 0.03, 0.04, 0.1)


def test_without_pairs_names_tell_left_from_right(write):
    category = {**CATEGORY, "keypoints": ["left_ear", "nose", "right_ear", "tail"]}
    skeleton = read_skeleton(*write('name = "fox"\nsigmas = 0.05', category))
    assert skeleton.flip_index.tolist() == [2, 1, 0, 3]


def test_coco_reads_as_the_built_in_skeleton(coco_mini_dir, tmp_path):
    sigmas = "\n".join(
        f"{name} = {sigma}"
        for name, sigma in zip(COCO.keypoints, COCO.sigmas, strict=True)
    )
    (tmp_path / "coco.toml").write_text(f'name = "coco"\n[sigmas]\n{sigmas}\n')
    path = coco_mini_dir / "annotations" / "person_keypoints_val2017.json"
    skeleton = read_skeleton(AnnotationFile(path), tmp_path / "coco.toml")
    for field in ("name", "keypoints", "sigmas", "limbs"):
        assert getattr(skeleton, field) == getattr(COCO, field)
    assert skeleton.flip_index.tolist() == COCO.flip_index.tolist()


def test_crowdpose_pairs_sides_and_keeps_head_and_neck():
    assert CROWDPOSE.flip_index.tolist() == [
        *(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10),
        *(12, 13),
    ]
    assert CROWDPOSE.num_keypoints == 14
    assert max(map(max, CROWDPOSE.limbs)) == 13


def test_sigmas_are_estimated_as_coco_defines_them():
    noise = np.array([0.02, 0.05, 0.08, 0.1])
    areas = np.random.default_rng(0).uniform(50, 5000, 4000)
    first, second = (
        _people(np.random.default_rng(seed), noise, areas) for seed in (1, 2)
    )
    got = estimate_sigmas(first, second, num_keypoints=4)
    np.testing.assert_allclose(got, noise, rtol=0.05)


def test_estimate_by_hand():
    """The two annotations are 10 px apart, the area is 100^2: 0.1 / sqrt(2)."""
    first = [{"id": n, "area": 1e4, "keypoints": [5, 5, 2]} for n in range(1, 11)]
    second = [{**person, "keypoints": [11, 13, 1]} for person in first]
    (sigma,) = estimate_sigmas(first, second, num_keypoints=1)
    assert sigma == pytest.approx(0.1 / np.sqrt(2))
    unlabelled = {"id": 11, "area": 1e4, "keypoints": [0, 0, 0]}
    assert estimate_sigmas(
        [*first, unlabelled], [*second, unlabelled], num_keypoints=1
    ) == pytest.approx(sigma)


def test_estimated_sigmas_are_said_to_be(write):
    areas = np.full(50, 1e4)
    noise = np.full(4, 0.05)
    first, second = (
        _people(np.random.default_rng(seed), noise, areas) for seed in (1, 2)
    )
    files = write('name = "fox"\nsigmas_from = "again.json"', CATEGORY, first, second)
    skeleton = read_skeleton(*files)
    assert skeleton.sigmas_from == "estimated from again.json"
    np.testing.assert_allclose(skeleton.sigmas, 0.05, rtol=0.3)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ([], "keypoint 0: got 0 people who have it labelled twice"),
        (lambda first: first, "keypoint 0: got the same annotation twice"),
        (lambda first: [{"id": 1}], "without 'keypoints'"),
    ],
)
def test_annotations_that_tell_no_sigmas_are_refused(write, second, message):
    first = _people(np.random.default_rng(1), np.full(4, 0.05), np.full(50, 1e4))
    again = second(first) if callable(second) else second
    files = write('name = "fox"\nsigmas_from = "again.json"', CATEGORY, first, again)
    with pytest.raises(ValueError, match=message) as caught:
        read_skeleton(*files)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("name = ", r"fox\.toml: got no TOML"),
        ("sigmas = 0.05", r"fox\.toml: got name None"),
        ('name = "fox"', "got sigmas=None, sigmas_from=None, expected one"),
        (SETTINGS + 'sigmas_from = "a"', "expected one of the two"),
        (SETTINGS + "colour = 1", "got 'colour', expected name, flip_pairs"),
        ('name = "f"\nsigmas = 0', "got sigmas 0, expected numbers above 0"),
        ('name = "f"\nsigmas = nan', "got sigmas nan"),
        ('name = "f"\nsigmas = [0.1]', r"got sigmas \[0.1\]"),
        ('name = "f"\n[sigmas]\nnose = 0.1', "sigmas of 1 keypoints, 'far_ear'"),
        (SETTINGS.replace("far", "fat"), r"got flip pair \['near_ear', 'fat_ear'\]"),
        (SETTINGS.replace('["near', '["tail"], ["near'), r"got flip pair \['tail'\]"),
        (SETTINGS.replace("far", "near"), "each in one pair only"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(write, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_skeleton(*write(settings))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": []}, r"fox\.json: got 0 `categories`"),
        ({"keypoints": ["nose", "nose"]}, "expected names, each once"),
        ({"id": "3"}, "got id '3', .* expected an integer"),
        ({"keypoints": "nose"}, "got keypoints 'nose'"),
        ({"skeleton": [[0, 1]]}, r"got limb \[0, 1\] in `skeleton`, .* 1 to 4"),
        ({"skeleton": [[4, 5]]}, r"got limb \[4, 5\]"),
        ({"skeleton": [1, 2]}, "got limb 1"),
        ({"skeleton": "x"}, "got limb 'x'"),
    ],
)
def test_categories_that_cannot_be_are_refused(write, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_skeleton(*write(category={**CATEGORY, **changes}))
    assert "\n" not in str(caught.value)


def test_side_without_its_mirror_image_turns_mirroring_off(write):
    category = {**CATEGORY, "keypoints": ["left_ear", "nose", "tail", "back"]}
    skeleton = read_skeleton(*write('name = "fox"\nsigmas = 0.05', category))
    assert not skeleton.mirrors
    assert skeleton.flip_index.tolist() == [0, 1, 2, 3]


def test_no_category_with_keypoints_is_refused(write):
    with pytest.raises(ValueError, match="got 0 `categories` with `keypoints`"):
        read_skeleton(*write(category={"id": 1, "name": "fox"}))
