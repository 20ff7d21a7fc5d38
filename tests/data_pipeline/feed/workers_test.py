import itertools
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys

import psutil
import pytest

from data_pipeline.feed.affine import Augmentation
from data_pipeline.feed.pipeline import make_train_dataset
from data_pipeline.read.sources import Source, open_source

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def start(write_coco):
    """Starts workers and takes a few batches: the batches to come, and the workers."""
    source = open_source(write_coco(), "train")
    opened = []

    def start_(stall_s):
        batches = make_train_dataset(
            source,
            input_size=32,
            batch_size=1,
            seed=0,
            augmentation=Augmentation(),
            num_workers=2,
            stall_s=stall_s,
        )
        opened.append(batches)
        list(itertools.islice(batches, 4))
        return batches, [p.pid for p in multiprocessing.active_children()]

    yield start_
    for batches in opened:
        batches.close()


def send(pid, number):
    psutil.Process(pid).send_signal(number)


@pytest.mark.row("R16")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_ends_the_iteration_and_the_other_workers(start, number):
    batches, (one, _) = start(stall_s=300.0)
    send(one, number)
    message = f"got an input worker that was killed by {number.name}, expected a batch"
    with pytest.raises(ChildProcessError, match=message):
        list(itertools.islice(batches, 100))
    assert not multiprocessing.active_children()


@pytest.mark.row("R16")
@pytest.mark.slow
def test_a_worker_that_is_stuck_is_killed_with_the_others(start):
    batches, (_, other) = start(stall_s=20.0)
    send(other, signal.SIGSTOP)
    with pytest.raises(ChildProcessError, match=r"brought no batch for 20 s \(killed"):
        list(itertools.islice(batches, 100))
    assert not multiprocessing.active_children()


class Exiting(Source):
    """A source whose third record ends the process that reads it."""

    def __init__(self, source):
        self._source = source
        self.sizes, self.skeleton = source.sizes, source.skeleton

    def __len__(self):
        return len(self._source)

    def __getitem__(self, position):
        if position == 2:
            os._exit(9)
        return self._source[position]


@pytest.mark.row("R16")
def test_a_worker_that_ends_itself_is_told_with_its_exit_code(write_coco):
    batches = make_train_dataset(
        Exiting(open_source(write_coco(), "train")),
        input_size=32,
        batch_size=1,
        seed=0,
        augmentation=Augmentation(),
        num_workers=1,
        stall_s=300.0,
    )
    with pytest.raises(ChildProcessError, match="worker that ended with exit code 9"):
        list(itertools.islice(batches, 100))
    assert not multiprocessing.active_children()


# No `if __name__ == "__main__"`: a worker runs it again before it reads what to do,
# and dies of that. The records are more than Python can write to it without a reader.
UNGUARDED = """
import pathlib, sys
from data_pipeline.feed.affine import Augmentation
from data_pipeline.feed.pipeline import make_train_dataset
from data_pipeline.read.sources import RecordSource, open_source
from logocap_jax.skeletons import COCO

source = open_source(pathlib.Path(sys.argv[1]), "train")
batches = make_train_dataset(
    RecordSource([source[0]] * 100_000, COCO), input_size=64, batch_size=2, seed=0,
    augmentation=Augmentation(), num_workers=1, stall_s=10.0,
)
next(batches)
"""


@pytest.mark.row("R16")
@pytest.mark.slow
def test_a_worker_that_dies_at_its_start_ends_the_process(write_coco):
    root = write_coco()
    path = root / "unguarded.py"
    path.write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, str(path), str(root)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 9, done.stderr
    assert "start a new process before the" in done.stderr
    *_, line = (x for x in done.stderr.splitlines() if "resource_tracker" not in x)
    assert line.startswith("error: got an input worker that died at its start")
