"""Where records come from: one interface to data as downloaded and as prepared."""

import abc
import json
import pathlib
import pickle
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf.json_format import ParseError

from data_pipeline.read.coco import AnnotationFile, read_coco_split
from data_pipeline.read.find_skeleton import find_skeleton
from data_pipeline.read.layouts import LAYOUTS, annotation_file, is_prepared
from data_pipeline.read.records import ImageRecord, raise_faults
from logocap_jax.skeletons import Skeleton

# Fields of a record as a prepared data set keeps them.
ARRAYS = ("keypoints", "visibility", "bbox", "area", "iscrowd")
NUMBERS = ("image_id", "width", "height")
# From this version on the index counts the people of an image, with keypoints or not.
PREPARED_VERSION = "1.1.0"


class Source(abc.ABC):
    """Records by position, and facts about all of them."""

    #: `(width, height)` of each image; reads none of them.
    sizes: Sequence[tuple[int, int]]

    def __init__(self, skeleton: Skeleton, annotations: AnnotationFile) -> None:
        """Take what the annotation file holds."""
        self.skeleton = skeleton
        self.annotations = annotations

    @property
    def annotation_file(self) -> pathlib.Path:
        """The file of the annotations."""
        return self.annotations.path

    @property
    def truth(self) -> dict[str, Any]:
        """Annotations to score against, see `AnnotationFile.truth`."""
        return self.annotations.truth

    @property
    def fingerprint(self) -> str:
        """Tells data from others: of the annotations, see `AnnotationFile`."""
        return self.annotations.fingerprint

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abc.abstractmethod
    def __getitem__(self, index: int) -> ImageRecord:
        """One record."""


class RecordSource(Source):
    """Records at hand; their images stay in files until decoded."""

    def __init__(
        self,
        records: Sequence[ImageRecord],
        skeleton: Skeleton,
        annotations: AnnotationFile,
    ) -> None:
        """Take records, in order."""
        super().__init__(skeleton, annotations)
        self._records = records
        self._pickled: bytes | None = None
        self._lock = threading.Lock()
        self.sizes = [(record.width, record.height) for record in records]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle once for all input workers: COCO's records take seconds each time."""
        with self._lock:
            if self._pickled is None:
                parts = (self._records, self.skeleton, self.annotations)
                self._pickled = pickle.dumps(parts)
        return _unpickle_records, (self._pickled,)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._records)

    def __getitem__(self, index: int) -> ImageRecord:
        """One record."""
        return self._records[index]


def _unpickle_records(pickled: bytes) -> RecordSource:
    return RecordSource(*pickle.loads(pickled))


class PreparedSource(Source):
    """One split of a data set that `prepare_coco` wrote."""

    def __init__(
        self,
        folder: pathlib.Path,
        split: str,
        *,
        with_people_only: bool = False,
    ) -> None:
        """Open a split.

        Raises:
          ValueError: if the folder holds another kind of data set, or lacks the split.
        """
        annotations = AnnotationFile(annotation_file(folder, split))
        super().__init__(find_skeleton(folder), annotations)
        builder = _open_builder(folder)
        if split not in builder.info.splits:
            raise ValueError(
                f"{folder}: got no split {split!r}, expected one of "
                f"{sorted(builder.info.splits)}"
            )
        if with_people_only and builder.version < PREPARED_VERSION:
            raise ValueError(
                f"{folder}: got a data set prepared as version {builder.version}, "
                "whose index leaves out people without keypoints, expected "
                f"{PREPARED_VERSION} to train on; remove it and prepare it again"
            )
        index = np.array(builder.info.metadata["index"][split]).reshape(-1, 3)
        is_wanted = index[:, 2] > 0 if with_people_only else np.ones(len(index), bool)
        self._positions = np.flatnonzero(is_wanted)
        self._folder = folder
        self._records = builder.as_data_source(
            split, decoders={"image": tfds.decode.SkipDecoding()}
        )
        self.sizes = [(int(w), int(h)) for w, h, _ in index[is_wanted]]

    def __len__(self) -> int:
        """Number of images."""
        return len(self._positions)

    def __getitem__(self, index: int) -> ImageRecord:
        """One record.

        Raises:
          ValueError: if it is damaged on the disk; ArrayRecord has checksums.
        """
        try:
            example = self._records[int(self._positions[index])]
        except RuntimeError as error:
            raise ValueError(
                f"{self._folder}: got a damaged or missing file, expected it as "
                f"prepared; prepare it again: {error}"
            ) from error
        return from_example(example)


def _open_builder(folder: pathlib.Path) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder_from_directory(folder)
    except (ValueError, OSError, ParseError) as error:  # a file cut short, or missing
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{folder}: got a damaged data set, expected it as prepared; remove it and "
            f"prepare it again: {reason:.120}"
        ) from error


def from_example(example: Mapping[str, Any]) -> ImageRecord:
    """Turn an example that TFDS reads, its image not decoded, into a record."""
    fields = {name: example[name] for name in (*ARRAYS, *NUMBERS, "image")}
    fields["file_name"] = example["file_name"].decode()
    fields["segmentation"] = tuple(json.loads(example["segmentation"]))
    return ImageRecord(**fields)


def check_share(
    source: Source, batch_size: int, host_index: int, num_hosts: int
) -> None:
    """Check that the hosts can share out batches of a source.

    Raises:
      ValueError: if the source is empty, the batch does not divide by the hosts, or
        there is no such host.
    """
    if len(source) == 0:
        raise ValueError("got a source without images, expected at least one")
    if not 0 <= host_index < num_hosts:
        raise ValueError(f"got host {host_index} of {num_hosts}, expected a lower one")
    if batch_size <= 0 or batch_size % num_hosts:
        raise ValueError(
            f"got batch_size={batch_size} for {num_hosts} hosts, expected a multiple"
        )


def open_source(
    folder: pathlib.Path,
    split: str,
    *,
    with_people_only: bool = False,
    skeleton: Skeleton | None = None,
) -> Source:
    """Open a split of a prepared data set, or of one as it is downloaded.

    Its annotation file is parsed once, for skeleton, records, `truth` and
    `fingerprint`. `with_people_only` takes only images with at least one annotated
    person, be it a crowd or without keypoints: those to train on; the parsed file is
    freed then. The skeleton may come from another split's source; by default
    `find_skeleton` finds it. The split is `train`, `val`, `test`, or COCO's `test-dev`,
    whose annotations are secret.

    Raises:
      ValueError: if the folder holds neither, has bad records (all are named), or
        nobody is there to train on.
    """
    splits = {name for layout in LAYOUTS for name in layout.annotations}
    if split not in splits:
        raise ValueError(f"got split {split!r}, expected one of {sorted(splits)}")
    source: Source
    if is_prepared(folder):
        source = PreparedSource(folder, split, with_people_only=with_people_only)
    else:
        source = _open_downloaded(folder, split, with_people_only, skeleton)
    if with_people_only and len(source) == 0:
        raise ValueError(
            f"{folder}: got no image in split {split!r} in which a person is "
            "annotated, expected at least one"
        )
    return source


def _open_downloaded(
    folder: pathlib.Path,
    split: str,
    with_people_only: bool,
    skeleton: Skeleton | None,
) -> RecordSource:
    annotations = AnnotationFile(annotation_file(folder, split))
    if not annotations.path.is_file():
        layouts = [layout for layout in LAYOUTS if split in layout.annotations]
        names = " or ".join(
            f"annotations/{layout.annotations[split]}" for layout in layouts
        )
        raise ValueError(
            f"{folder}: got neither a prepared data set nor COCO's layout, expected "
            f"the output of `logocap prepare` or {names}"
        )
    skeleton = skeleton or find_skeleton(folder, annotations)
    read = read_coco_split(folder, split, skeleton, annotations)
    raise_faults(read.faults)
    records = read.records
    if with_people_only:
        records = tuple(record for record in records if record.has_people)
        annotations.forget()
    return RecordSource(records, skeleton, annotations)
