import itertools
import logging

import numpy as np
import pytest

from data_pipeline.feed.affine import Augmentation
from data_pipeline.feed.examples import map_example
from data_pipeline.feed.pipeline import SkipBadRecords, make_train_dataset
from data_pipeline.read.sources import open_source
from logocap_jax.skeletons import COCO
from tests.faults.injector import FlipBit, damage

BROKEN = b"\xff\xd8broken"


def open_with_broken(root, *numbers):
    """Ten images, some of which break once the source is open."""
    source = open_source(root, "train")
    for number in numbers:
        (root / f"train2017/{number:03}.jpg").write_bytes(BROKEN)
    return source


def loader(source, *, max_bad):
    """Position -> name of the file that is read in the end."""

    def name(record, rng):
        del rng
        if record.image.read_bytes() == BROKEN:
            raise ValueError(f"{record.name}: broken")
        return {"name": np.asarray(record.file_name)}

    load = SkipBadRecords(source, name, max_bad=max_bad)
    return lambda position: str(load(position, np.random.default_rng(0))["name"])


def batches(source, count, **changes):
    settings = {
        "input_size": 32,
        "batch_size": 2,
        "seed": 3,
        "augmentation": Augmentation(),
    }
    dataset = make_train_dataset(source, **(settings | changes))
    try:
        return list(itertools.islice(dataset, count))
    finally:
        dataset.close()


def test_the_next_good_record_takes_the_place_of_a_bad_one(write_coco):
    source = open_with_broken(write_coco(num_images=5), 2, 3, 5)
    got = map(loader(source, max_bad=3), [0, 1, 2, 3, 4, 1])
    assert list(got) == [f"{n:03}.jpg" for n in (1, 4, 4, 4, 1, 4)]


def test_each_bad_record_is_told_once(write_coco, caplog):
    source = open_with_broken(write_coco(num_images=5), 2, 3)
    with caplog.at_level(logging.WARNING):
        list(map(loader(source, max_bad=2), [1, 1, 2, 0, 1]))
    assert caplog.messages == [
        "bad record 1, of 2 that may be; others take its place: "
        "image 2 ('002.jpg'): broken",
        "bad record 2, of 2 that may be; others take its place: "
        "image 3 ('003.jpg'): broken",
    ]


@pytest.mark.row("images")
def test_one_bad_record_more_than_may_be_is_an_error_each_time(write_coco):
    load = loader(open_with_broken(write_coco(num_images=5), 1, 3), max_bad=1)
    assert load(0) == load(1) == "002.jpg"
    message = (
        r"got 2 bad records, expected at most 1 \(max_bad_records\), the last one: "
        r"image 3 \('003.jpg'\): broken"
    )
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            load(2)


@pytest.mark.row("images")
def test_a_source_without_any_good_record_is_an_error_and_no_endless_search(write_coco):
    load = loader(open_with_broken(write_coco(num_images=2), 1, 2), max_bad=10)
    with pytest.raises(ValueError, match="got 2 bad records, expected a good one"):
        load(0)


@pytest.mark.row("images")
@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_with_bad_records_are_the_same_at_any_start_and_number_of_workers(
    write_coco, num_workers
):
    root = write_coco(num_images=6)
    whole = batches(open_source(root, "train"), 9)
    source = open_with_broken(root, 2, 5)
    expected = batches(source, 9, max_bad_records=2)
    got = batches(source, 5, start_step=4, max_bad_records=2, num_workers=num_workers)
    for one, other in zip(got, expected[4:], strict=True):
        map_example(np.testing.assert_array_equal, one, other)
    # Only the bad ones have changed: 2 of 6 images in each of 3 epochs.
    changed = [
        (one != other).any()
        for before, after in zip(whole, expected, strict=True)
        for one, other in zip(before["image"], after["image"], strict=True)
    ]
    assert sum(changed) == 6


@pytest.mark.row("images")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_training_stops_above_the_limit(write_coco, num_workers):
    source = open_with_broken(write_coco(num_images=6), 2, 5)
    with pytest.raises(ValueError, match="got 2 bad records, expected at most 1"):
        batches(source, 9, max_bad_records=1, num_workers=num_workers)


@pytest.mark.row("images")
def test_a_prepared_data_set_that_rots_is_told_as_bad_records(write_coco, tmp_path):
    from data_pipeline.prepare.dataset import prepare_coco

    prepare_coco(write_coco(), tmp_path / "prepared", skeleton=COCO, progress=False)
    source = open_source(tmp_path / "prepared", "train")
    (records,) = (tmp_path / "prepared").glob("*train*record*")
    damage(records, FlipBit())
    with pytest.raises(ValueError, match="got a damaged or missing file"):
        batches(source, 2)
