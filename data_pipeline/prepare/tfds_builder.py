"""TFDS data set of people with keypoints, written and read without TensorFlow.

The stock `coco` data sets of TFDS have no keypoints. Images are kept as encoded, so
that nothing is lost or recomputed. The metadata hold the skeleton, and what the loader
must know of all images before it reads one: width, height, number of people.
"""

import dataclasses
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_pipeline.read.images import read_encoded
from data_pipeline.read.records import ImageRecord
from data_pipeline.read.sources import ARRAYS, NUMBERS, PREPARED_VERSION
from logocap_jax.skeletons import Skeleton


class PersonKeypoints(tfds.core.GeneratorBasedBuilder):
    """Images and their people, split by split, in the order given."""

    VERSION = tfds.core.Version(PREPARED_VERSION)
    # Nothing is downloaded; looking for checksums, TFDS 4.9.10 imports a package that
    # it does not declare.
    url_infos = None

    def __init__(
        self,
        *,
        skeleton: Skeleton,
        splits: Mapping[str, Callable[[], Iterable[ImageRecord]]],
        beam_examples: Callable[[str, Sequence[int]], Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Read nothing yet.

        `beam_examples` turns a split and its image ids into a Beam transform that makes
        the examples; by default they are made here.
        """
        self._skeleton = skeleton
        self._record_iterables = splits
        self._beam_examples = beam_examples
        self._index: dict[str, list[list[int]]] = {split: [] for split in splits}
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        count = self._skeleton.num_keypoints
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "image_id": np.int64,
            "file_name": tfds.features.Text(),
            "width": np.int32,
            "height": np.int32,
            "keypoints": _per_person(np.float32, count, 2),
            "visibility": _per_person(np.int8, count),
            "bbox": _per_person(np.float32, 4),
            "area": _per_person(np.float32),
            "iscrowd": _per_person(np.bool_),
            "segmentation": tfds.features.Text(doc="JSON: one text per person"),
        }
        metadata = {
            "skeleton": dataclasses.asdict(self._skeleton),
            "index": self._index,
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images and the keypoints of the people in them.",
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(metadata),
            # `index` is by position.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {split: self._generate_examples(split) for split in self._index}

    def _generate_examples(self, split: str) -> Any:
        records = self._noted_records(split)
        if self._beam_examples is not None:
            return self._beam_examples(split, [record.image_id for record in records])
        return ((i, to_example(record)) for i, record in enumerate(records))

    def _noted_records(self, split: str) -> Iterator[ImageRecord]:
        for record in self._record_iterables[split]():
            entry = [record.width, record.height, len(record.area)]
            self._index[split].append(entry)
            yield record


def to_example(record: ImageRecord) -> dict[str, Any]:
    """Turn a record into an example for TFDS to write."""
    return {name: getattr(record, name) for name in (*ARRAYS, *NUMBERS)} | {
        "image": io.BytesIO(read_encoded(record.image)),
        "file_name": record.file_name,
        "segmentation": json.dumps(record.segmentation),
    }


def _per_person(dtype: type[np.generic], *shape: int) -> tfds.features.Tensor:
    return tfds.features.Tensor(shape=(None, *shape), dtype=dtype)
