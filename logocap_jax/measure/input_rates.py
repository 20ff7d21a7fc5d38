"""What `benchmark input` measures."""

import collections
import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
from ml_collections import ConfigDict

from data_pipeline.feed.affine import warp_image
from data_pipeline.feed.augment import Augmentation
from data_pipeline.feed.examples import Example, loss_masks, train_example
from data_pipeline.feed.pipeline import make_train_dataset
from data_pipeline.read.images import decode_image, read_encoded
from data_pipeline.read.sources import Source, open_source
from logocap_jax.measure.input_memory import Resident, growth_line, read_resident
from logocap_jax.measure.rows import Row
from logocap_jax.measure.timing import Timing, measure


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """One number of input workers.

    Attributes:
      row: its times.
      resident: memory after the warm-up and after each sample; empty where the system
        does not tell.
      batches: in a sample.
      bytes_per_image: all arrays of a batch, as they go to the devices.
      image_and_mask_bytes: of them, image and mask alone, per image.
    """

    row: Row
    resident: Sequence[Resident]
    batches: int
    bytes_per_image: float
    image_and_mask_bytes: float

    def lines(self) -> Iterator[str]:
        """What is no time, in words."""
        share = self.bytes_per_image / self.image_and_mask_bytes
        yield (
            f"{self.row.name}: {self.bytes_per_image:,.0f} bytes per image to the "
            f"devices, {share:.3f} times image and mask"
        )
        if self.resident:
            count = self.batches * (len(self.resident) - 1)
            yield f"{self.row.name}: {growth_line(self.resident, batches=count)}"

    def to_json(self) -> dict[str, Any]:
        """All but the times."""
        plain = dataclasses.asdict(self)
        return {"key": self.row.key} | {k: v for k, v in plain.items() if k != "row"}


def open_training_data(config: ConfigDict) -> Source:
    """The images that a config trains on.

    Raises:
      ValueError: if it names none, or they are unusable.
    """
    if not config.data.dir:
        raise ValueError("got no data folder; set --data-dir=DIR")
    return open_source(
        Path(config.data.dir), config.data.train_split, with_people_only=True
    )


def measure_stages(
    config: ConfigDict, source: Source, *, rounds: int, most_images: int = 64
) -> list[Row]:
    """Time reading, decoding, warping and all of an example, each by itself.

    In one thread, image by image; what a stage takes is made beforehand.

    Args:
      config: the training's.
      source: its images.
      rounds: samples of each time.
      most_images: of the source, the first ones.

    Raises:
      ValueError: if an image is unusable.
    """
    records = [source[i] for i in range(min(len(source), most_images))]
    in_memory = [
        dataclasses.replace(record, image=read_encoded(record.image))
        for record in records
    ]
    side = config.data.input_size
    size = (side, side)
    augmentation = Augmentation(**config.data.augmentation)
    rng = np.random.default_rng(config.seed)
    affines = [
        augmentation.draw(rng, image_size=(r.width, r.height), input_size=side)[0]
        for r in records
    ]
    images = [decode_image(record) for record in in_memory]

    def example(index: int) -> Example:
        return train_example(
            records[index],
            rng,
            skeleton=source.skeleton,
            input_size=side,
            augmentation=augmentation,
            max_people=config.data.max_people,
        )

    stages: dict[str, Callable[[int], object]] = {
        "read": lambda i: read_encoded(records[i].image),
        "decode": lambda i: decode_image(in_memory[i]),
        "warp image": lambda i: warp_image(images[i], affines[i], size=size),
        "warp mask": lambda i: loss_masks(records[i], affines[i], size=size),
        "example": example,
    }

    def over_all(stage: Callable[[int], object]) -> Callable[[], None]:
        def call() -> None:
            for index in range(len(records)):
                stage(index)

        return call

    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # as in an input worker
    try:
        calls = {name: over_all(stage) for name, stage in stages.items()}
        timings = measure(calls, rounds=rounds, seconds=0.0)
    finally:
        cv2.setNumThreads(threads)
    setting = f"{len(records)} images, {side} px, one thread"
    return [
        Row(name, setting, len(records), timing=timing)
        for name, timing in timings.items()
    ]


def measure_pipeline(
    config: ConfigDict, source: Source, num_workers: int, *, batches: int, rounds: int
) -> Pipeline:
    """Time the way from files to batches on the host, once all buffers have filled.

    Args:
      config: the training's.
      source: its images.
      num_workers: processes that load; 0: threads of this one.
      batches: in a sample; the warm-up is as long.
      rounds: samples.

    Raises:
      ValueError: if a setting is out of range, or an image unusable.
    """
    pipeline = make_train_dataset(
        source,
        input_size=config.data.input_size,
        batch_size=config.batch_size,
        seed=config.seed,
        augmentation=Augmentation(**config.data.augmentation),
        max_people=config.data.max_people,
        num_workers=num_workers,
        max_bad_records=config.data.max_bad_records,
        stall_s=config.data.stall_s,
    )
    seconds = []
    with contextlib.closing(pipeline):
        batch = _take(pipeline, batches)
        readings = [read_resident()]
        for _ in range(rounds):
            began = time.perf_counter()
            batch = _take(pipeline, batches)
            seconds.append(time.perf_counter() - began)
            readings.append(read_resident())
    timing = Timing(tuple(seconds))
    images = batches * config.batch_size
    per_worker = images / timing.median / max(num_workers, 1)
    image_and_masks = [batch["image"], *batch["masks"].values()]
    return Pipeline(
        Row(
            f"pipeline, {num_workers} workers",
            f"{batches} batches of {config.batch_size}, {config.data.input_size} px",
            images,
            timing=timing,
            remark=f"{per_worker:.4g} images/s per worker",
        ),
        [reading for reading in readings if reading is not None],
        batches,
        bytes_per_image=_count_bytes(jax.tree.leaves(batch)) / config.batch_size,
        image_and_mask_bytes=_count_bytes(image_and_masks) / config.batch_size,
    )


def _count_bytes(arrays: Sequence[np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays)


def _take(pipeline: Iterator[Example], count: int) -> Example:
    """The last of so many batches."""
    (batch,) = collections.deque(itertools.islice(pipeline, count), maxlen=1)
    return batch
