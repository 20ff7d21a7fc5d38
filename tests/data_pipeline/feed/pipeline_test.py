import itertools
import multiprocessing
import operator
import os
import pathlib
import subprocess
import sys

import numpy as np
import psutil
import pytest

from data_pipeline.feed.affine import Augmentation
from data_pipeline.feed.examples import map_example
from data_pipeline.feed.pipeline import make_train_dataset
from data_pipeline.read.coco import AnnotationFile
from data_pipeline.read.sources import RecordSource, Source, open_source
from logocap_jax.skeletons import COCO

NOWHERE = AnnotationFile(pathlib.Path("absent.json"))


@pytest.fixture(scope="module")
def source(coco_mini_dir):
    everything = open_source(coco_mini_dir, "train")
    records = [everything[index] for index in range(len(everything))]
    with_keypoints = [record for record in records if record.has_keypoints.any()]
    return RecordSource(with_keypoints, everything.skeleton, NOWHERE)


def batches(source, count, **changes):
    settings = {
        "input_size": 64,
        "batch_size": 4,
        "seed": 3,
        "augmentation": Augmentation(),
        # A stall may end the process that waits, here that of the tests.
        "stall_s": 300.0,
    }
    dataset = make_train_dataset(source, **(settings | changes))
    try:
        return list(itertools.islice(dataset, count))
    finally:
        dataset.close()


def assert_same(got, expected):
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.keys() == other.keys()
        map_example(np.testing.assert_array_equal, one, other)


def test_batches_have_the_shapes_of_the_batch_structure(source):
    (batch,) = batches(source, 1)
    assert map_example(lambda a: (a.shape, str(a.dtype)), batch) == {
        "image": ((4, 64, 64, 3), "uint8"),
        "masks": {4: ((4, 16, 16), "uint8")},
        "keypoints": ((4, 30, 17, 2), "float32"),
        "labelled": ((4, 30, 17), "bool"),
        "area": ((4, 30), "float32"),
        "size": ((4, 30, 2), "float32"),
        "person": ((4, 30), "bool"),
        "has_center": ((4, 30), "bool"),
        "mirrored": ((4,), "bool"),
        "box": ((4, 30, 4), "float32"),
        "content": ((4, 4), "float32"),
        "input_to_image": ((4, 2, 3), "float32"),
        "scaled": (),
    }


@pytest.mark.row("T6")
@pytest.mark.parametrize(
    ("num_workers", "num_threads"),
    [(0, 1), pytest.param(1, 4, marks=pytest.mark.slow), (2, 1)],
)
def test_workers_and_threads_change_nothing(source, num_workers, num_threads):
    expected = batches(source, 9)
    got = batches(source, 9, num_workers=num_workers, num_threads=num_threads)
    assert_same(got, expected)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_masks_come_in_the_strides_asked_for(source, num_workers):
    (one,) = batches(source, 1, mask_strides=(2, 4), num_workers=num_workers)
    shapes = {stride: mask.shape for stride, mask in one["masks"].items()}
    assert shapes == {2: (4, 32, 32), 4: (4, 16, 16)}
    (other,) = batches(source, 1)
    np.testing.assert_array_equal(one["masks"][4], other["masks"][4])


@pytest.mark.row("T7")
@pytest.mark.parametrize("num_hosts", [2, 4])
def test_hosts_share_out_the_same_batches(source, num_hosts):
    expected = batches(source, 9)
    shares = [
        batches(source, 9, host_index=host, num_hosts=num_hosts)
        for host in range(num_hosts)
    ]
    for step, whole in enumerate(expected):
        for host, share in enumerate(shares):
            rows = slice(host, None, num_hosts)
            expected_share = map_example(operator.itemgetter(rows), whole)
            assert_same([share[step]], [expected_share])


@pytest.mark.row("T8")
@pytest.mark.parametrize("start_step", [1, 6, 7, 8, 15])
def test_a_run_resumes_at_any_step_also_beyond_an_epoch(source, start_step):
    expected = batches(source, start_step + 2)[start_step:]
    assert_same(batches(source, 2, start_step=start_step), expected)


@pytest.mark.row("T8")
def test_a_resume_holds_with_workers_and_hosts(source):
    expected = batches(source, 6, host_index=1, num_hosts=2)[4:]
    got = batches(source, 2, start_step=4, host_index=1, num_hosts=2, num_workers=2)
    assert_same(got, expected)


def test_the_seed_decides(source):
    (one,), (other,) = batches(source, 1), batches(source, 1, seed=4)
    assert (one["image"] != other["image"]).any()


@pytest.mark.row("T9")
def test_each_epoch_shows_every_image_once_in_another_order(source):
    # Unaugmented, an image is known by its pixels; 28 images, 7 batches of 4.
    images = [
        image.tobytes()
        for batch in batches(source, 14, augmentation=Augmentation.none())
        for image in batch["image"]
    ]
    first, second = images[:28], images[28:]
    assert len(set(first)) == 28
    assert set(first) == set(second)
    assert first != second


def test_an_image_is_augmented_anew_in_each_epoch(source):
    one_image = RecordSource([source[0]], COCO, NOWHERE)
    first, second = batches(one_image, 2, batch_size=1)
    assert (first["image"] != second["image"]).any()


@pytest.mark.row("configs")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hosts": 3}, "batch_size=4 for 3 hosts"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"host_index": 2, "num_hosts": 2}, "host 2 of 2"),
        ({"host_index": -1}, "host -1 of 1"),
        ({"start_step": -1}, "start_step=-1"),
        ({"num_workers": -1}, "num_workers=-1"),
        ({"max_bad_records": -1}, "max_bad_records=-1"),
        ({"stall_s": 0.0}, "stall_s=0.0, expected more than 0"),
        ({"input_size": 65}, "input_size=65"),
        ({"input_size": 10**6 // 32 * 32}, "input_size=1000000, expected a multiple"),
        ({"max_people": 10**9}, "max_people=1000000000, expected 1 to 10000"),
        ({"input_size": 0}, "input_size=0"),
    ],
)
def test_numbers_without_meaning_are_refused_at_once(source, changes, message):
    with pytest.raises(ValueError, match=message):
        batches(source, 0, **changes)


def test_an_empty_source_is_refused():
    with pytest.raises(ValueError, match="got a source without images"):
        batches(RecordSource([], COCO, NOWHERE), 0)


@pytest.mark.row("R16")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_training_stops_at_an_unreadable_image(write_coco, num_workers):
    root = write_coco()
    source = open_source(root, "train")
    (root / "train2017/002.jpg").write_bytes(b"\xff\xd8broken")
    with pytest.raises(ValueError, match=r"image 2 \('002.jpg'\): got a truncated"):
        batches(source, 3, num_workers=num_workers)


@pytest.mark.row("R18")
@pytest.mark.parametrize("num_hosts", [1, 2, 4])
def test_no_host_ever_runs_out_of_batches(write_coco, num_hosts):
    # Five images: neither batches nor hosts divide them.
    source = open_source(write_coco(num_images=5), "train")
    for host in range(num_hosts):
        got = batches(source, 11, input_size=32, host_index=host, num_hosts=num_hosts)
        assert [len(batch["image"]) for batch in got] == [4 // num_hosts] * 11


TRAINER = """
import pathlib, sys
from data_pipeline.feed.affine import Augmentation
from data_pipeline.feed.pipeline import make_train_dataset
from data_pipeline.read.sources import open_source

if __name__ == "__main__":
    source = open_source(pathlib.Path(sys.argv[1]), "train")
    batches = make_train_dataset(
        source, input_size=64, batch_size=2, seed=0, augmentation=Augmentation(),
        num_workers=2,
    )
    for line in sys.stdin:
        for _ in range(8):
            next(batches)
        print(line, end="", flush=True)
"""


@pytest.mark.row("R7", "R3")
def test_workers_outlive_a_signal_to_the_group_but_not_their_trainer(write_coco):
    root = write_coco()
    path = root / "trainer.py"
    path.write_text(TRAINER)
    here = pathlib.Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        [sys.executable, str(path), str(root)],
        env=os.environ | {"PYTHONPATH": str(here)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    ) as trainer:
        trainer.stdin.write("started\n")
        assert trainer.stdout.readline() == "started\n"
        children = psutil.Process(trainer.pid).children(recursive=True)
        assert len(children) >= 2
        for child in children:
            child.terminate()
        trainer.stdin.write("still there\n")
        assert trainer.stdout.readline() == "still there\n"
        trainer.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


class Noting(Source):
    """A source that notes the positions it is asked for."""

    def __init__(self, source):
        super().__init__(source.skeleton, NOWHERE)
        self._source, self.asked = source, []

    def __len__(self):
        return len(self._source)

    def __getitem__(self, position):
        self.asked.append(position)
        return self._source[position]


def test_order_and_random_numbers_are_those_of_every_version_of_grain(source):
    noting = Noting(source)
    found = batches(noting, 3, num_threads=1)
    assert noting.asked[:12] == [4, 22, 16, 7, 26, 3, 18, 19, 24, 0, 2, 23]
    mirrored = np.concatenate([batch["mirrored"] for batch in found])
    assert mirrored.tolist() == [int(bit) for bit in "011110011110"]
