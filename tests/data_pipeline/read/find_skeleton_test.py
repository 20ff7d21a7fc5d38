import json
import shutil

import pytest

from data_pipeline.drawn.animals import ANIMALS
from data_pipeline.drawn.dataset import write_drawn_dataset
from data_pipeline.prepare.dataset import prepare_coco
from data_pipeline.read.find_skeleton import find_skeleton
from data_pipeline.read.layouts import CROWDPOSE, OCHUMAN
from data_pipeline.read.sources import open_source
from data_pipeline.read.validate import validate
from logocap_jax import skeletons


@pytest.fixture
def animals_dir(tmp_path):
    out = tmp_path / "animals"
    write_drawn_dataset(
        *(out,),
        **{"num_train": 3, "num_val": 2, "size": 128, "seed": 0},
        progress=False,
        subject=ANIMALS,
    )
    return out


def test_public_data_sets_have_the_skeleton_of_their_layout(coco_mini_dir, tmp_path):
    assert find_skeleton(coco_mini_dir) == skeletons.COCO
    for layout, expected in (
        (OCHUMAN, skeletons.COCO),
        (CROWDPOSE, skeletons.CROWDPOSE),
    ):
        folder = tmp_path / layout.name
        folder.mkdir()
        (folder / layout.annotations["test"]).write_text("{}")
        assert find_skeleton(folder) == expected


def test_ones_own_is_that_of_its_annotations_and_toml(animals_dir):
    skeleton = find_skeleton(animals_dir)
    assert skeleton.name == "animal"
    assert skeleton.keypoints == ("nose", "left_ear", "right_ear", "rump", "tail")
    assert skeleton.flip_index.tolist() == [0, 2, 1, 3, 4]
    assert skeleton.sigmas == (0.1,) * 5
    for split in ("train", "val"):
        source = open_source(animals_dir, split)
        assert source.skeleton == skeleton
        assert source[0].keypoints.shape[1:] == (5, 2)


def test_a_validation_set_alone_has_a_skeleton_too(animals_dir):
    expected = find_skeleton(animals_dir)
    (animals_dir / "annotations/person_keypoints_train2017.json").unlink()
    assert find_skeleton(animals_dir) == expected


def test_prepared_records_need_nothing_else(animals_dir, tmp_path):
    """Estimated sigmas, too: neither the second annotation nor the TOML is asked."""
    path = animals_dir / "annotations/person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    first = [
        {"area": 1e4, "keypoints": [5, 5, 2] * 5, "id": number}
        for number in range(1, 11)
    ]
    content["annotations"] = [
        person | content["annotations"][0] | {"id": person["id"], "area": 1e4}
        for person in first
    ]
    path.write_text(json.dumps(content))
    again = [
        person | {"keypoints": [value + 3 for value in person["keypoints"]]}
        for person in content["annotations"]
    ]
    (animals_dir / "again.json").write_text(json.dumps({"annotations": again}))
    text = 'name = "beast"\nsigmas_from = "again.json"\n'
    (animals_dir / "skeleton.toml").write_text(text)
    skeleton = find_skeleton(animals_dir)
    assert skeleton.sigmas_from == "estimated from again.json"
    out = tmp_path / "records"
    prepare_coco(animals_dir, out, skeleton=skeleton, progress=False)
    shutil.rmtree(animals_dir)
    assert find_skeleton(out) == skeleton
    assert open_source(out, "val").skeleton == skeleton
    reports = validate(out, progress=False)
    assert not any(report.faults for report in reports.values())


def test_without_its_toml_the_data_is_refused_with_a_hint(animals_dir):
    (animals_dir / "skeleton.toml").unlink()
    with pytest.raises(ValueError, match=r"got 5 keypoints .* need a skeleton\.toml"):
        open_source(animals_dir, "train")


def test_a_folder_that_is_no_data_set_has_none(tmp_path):
    with pytest.raises(ValueError, match="got neither a prepared data set nor COCO"):
        find_skeleton(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("{"),
        lambda path: path.write_text('{"skeleton": "coco", "keypoints": []}'),
    ],
    ids=["missing", "cut", "of an earlier version"],
)
def test_records_that_do_not_say_it_are_to_be_prepared_again(
    animals_dir, tmp_path, spoil
):
    out = tmp_path / "records"
    prepare_coco(animals_dir, out, skeleton=find_skeleton(animals_dir), progress=False)
    spoil(out / "metadata.json")
    with pytest.raises(ValueError, match="prepare it again") as caught:
        open_source(out, "train")
    assert "\n" not in str(caught.value)
