import itertools
import operator
import pathlib

import numpy as np
import pytest

from data_pipeline.feed.eval_batches import make_eval_batches
from data_pipeline.feed.examples import map_example
from data_pipeline.read.coco import AnnotationFile
from data_pipeline.read.sources import RecordSource, open_source
from logocap_jax.skeletons import COCO


@pytest.fixture(scope="module")
def source(coco_mini_dir):
    return open_source(coco_mini_dir, "val")


def test_every_image_comes_once_in_batches_of_one_size(source):
    batches = make_eval_batches(source, short_side=128, batch_size=4)
    seen, sizes = [], []
    for batch in batches:
        assert batch["image"].shape[0] == 4
        assert batch["valid"].any()
        seen.extend(batch["image_id"][batch["valid"]].tolist())
        sizes.append(batch["image"].shape[1:3])
    assert len(sizes) == len(batches)
    assert sorted(seen) == sorted(source[i].image_id for i in range(len(source)))
    changes = sum(one != other for one, other in itertools.pairwise(sizes))
    assert changes == len(set(sizes)) - 1


def test_batches_have_the_shapes_of_the_batch_structure_and_more(source):
    batch = next(iter(make_eval_batches(source, short_side=128, batch_size=2)))
    height, width = batch["image"].shape[1:3]
    assert map_example(lambda a: (a.shape, str(a.dtype)), batch) == {
        "image": ((2, height, width, 3), "uint8"),
        "masks": {4: ((2, height // 4, width // 4), "uint8")},
        "keypoints": ((2, 30, 17, 2), "float32"),
        "labelled": ((2, 30, 17), "bool"),
        "area": ((2, 30), "float32"),
        "size": ((2, 30, 2), "float32"),
        "person": ((2, 30), "bool"),
        "has_center": ((2, 30), "bool"),
        "mirrored": ((2,), "bool"),
        "box": ((2, 30, 4), "float32"),
        "content": ((2, 4), "float32"),
        "image_id": ((2,), "int64"),
        "input_to_image": ((2, 2, 3), "float64"),
        "image_size": ((2, 2), "int32"),
        "valid": ((2,), "bool"),
        "scaled": (),
    }


def test_sides_and_masks_are_those_asked_for(write_coco):
    source = open_source(write_coco(), "val")
    batches = make_eval_batches(
        source, short_side=60, batch_size=1, multiple=32, mask_strides=(2, 8)
    )
    batch = next(iter(batches))
    assert batch["image"].shape == (1, 64, 96, 3)
    shapes = {stride: mask.shape for stride, mask in batch["masks"].items()}
    assert shapes == {2: (1, 32, 48), 8: (1, 8, 12)}


def test_padding_repeats_the_last_image_of_its_size(write_coco):
    source = open_source(write_coco(), "val")
    first, last = make_eval_batches(source, short_side=64, batch_size=2)
    assert first["image_id"].tolist() == [1, 2]
    assert first["valid"].tolist() == [True, True]
    assert last["image_id"].tolist() == [3, 3]
    assert last["valid"].tolist() == [True, False]


@pytest.mark.row("R18")
def test_hosts_share_out_the_same_batches(source):
    whole = make_eval_batches(source, short_side=64, batch_size=4)
    shares = [
        make_eval_batches(
            source, short_side=64, batch_size=4, host_index=host, num_hosts=2
        )
        for host in range(2)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):
        for host, part in enumerate(parts):
            rows = slice(2 * host, 2 * host + 2)
            share = map_example(operator.itemgetter(rows), batch)
            map_example(np.testing.assert_array_equal, part, share)


def test_iterating_twice_gives_the_same(source):
    batches = make_eval_batches(source, short_side=64, batch_size=8)
    for one, other in zip(batches, batches, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])


def test_numbers_without_meaning_are_refused(source):
    with pytest.raises(ValueError, match="short_side=0"):
        make_eval_batches(source, short_side=0, batch_size=4)
    with pytest.raises(ValueError, match="batch_size=4 for 3 hosts"):
        make_eval_batches(source, short_side=64, batch_size=4, num_hosts=3)
    with pytest.raises(ValueError, match="without images"):
        make_eval_batches(
            RecordSource([], COCO, AnnotationFile(pathlib.Path("absent"))),
            short_side=64,
            batch_size=4,
        )


def test_an_image_that_is_nearly_a_line_is_named(write_coco):
    root = write_coco(lambda content: content["images"][1].update(width=9000, height=1))
    source = open_source(root, "val")
    with pytest.raises(ValueError, match=r"image 2 \('002.jpg'\): got .* 9000x1"):
        make_eval_batches(source, short_side=512, batch_size=1)


def test_an_unreadable_image_is_named(write_coco):
    root = write_coco()
    source = open_source(root, "val")
    (root / "val2017/003.jpg").unlink()
    with pytest.raises(ValueError, match=r"image 3 \('003.jpg'\): got no regular file"):
        list(make_eval_batches(source, short_side=64, batch_size=2))
