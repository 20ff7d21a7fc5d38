"""Preparation on many machines with Apache Beam; needs the `[beam]` extra.

Workers are told which images to take, and read annotations and images themselves: so
all of them must see the data set's folder under the same name.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from data_pipeline.prepare.dataset import to_example
from data_pipeline.read.coco import read_coco_split
from data_pipeline.read.images import decode_image
from data_pipeline.read.records import ImageRecord
from logocap_jax.skeletons import Skeleton

_Load = Callable[[], Mapping[int, ImageRecord]]


class BeamJobs:
    """The Beam jobs that prepare one data set."""

    def __init__(
        self, coco_dir: pathlib.Path, skeleton: Skeleton, options: Sequence[str]
    ) -> None:
        """Set up; options are Beam's, such as `--runner=FlinkRunner`."""
        self._coco_dir = coco_dir.resolve()
        self._skeleton = skeleton
        self.options = PipelineOptions(list(options))

    def checker(
        self, split: str, folder: pathlib.Path
    ) -> Callable[[ImageRecord], None]:
        """Decode all images of a split; workers leave faults in `folder`.

        The result raises `ValueError` for a record whose image is bad.
        """
        reasons = self._unreadable(split, folder)

        def check(record: ImageRecord) -> None:
            if record.image_id in reasons:
                raise ValueError(reasons[record.image_id])

        return check

    def _unreadable(self, split: str, folder: pathlib.Path) -> dict[int, str]:
        load = functools.partial(_records, self._coco_dir, split, self._skeleton)
        with beam.Pipeline(options=self.options) as pipeline:
            _ = (
                pipeline
                | beam.Create(list(load()))
                | beam.Reshuffle()
                | beam.FlatMap(functools.partial(_faults, load))
                | beam.io.WriteToText(str(folder / split))
            )
        files = sorted(folder.glob(f"{split}-*"))
        return dict(
            json.loads(line)
            for file in files
            for line in file.read_text(encoding="utf-8").splitlines()
        )

    def examples(self, split: str, image_ids: Sequence[int]) -> beam.PTransform:
        """Examples of these images, each with its position among them."""
        load = functools.partial(_records, self._coco_dir, split, self._skeleton)
        return (
            beam.Create(list(enumerate(image_ids)))
            | beam.Reshuffle()
            | beam.Map(functools.partial(_example, load))
        )


def _faults(load: _Load, image_id: int) -> Iterator[str]:
    try:
        decode_image(load()[image_id])
    except ValueError as error:
        yield json.dumps([image_id, str(error)])


def _example(load: _Load, place: tuple[int, int]) -> tuple[int, dict[str, Any]]:
    position, image_id = place
    return position, to_example(load()[image_id])


@functools.lru_cache(maxsize=2)  # once in each process, for both splits
def _records(
    coco_dir: pathlib.Path, split: str, skeleton: Skeleton
) -> Mapping[int, ImageRecord]:
    read = read_coco_split(coco_dir, split, skeleton)
    return {record.image_id: record for record in read.records}
