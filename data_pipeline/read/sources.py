"""Random-access sources of records, whatever a folder holds them as."""

import pathlib
import pickle
import threading
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf.json_format import ParseError

from data_pipeline.prepare.dataset import is_prepared
from data_pipeline.read import coco
from data_pipeline.read.faults import raise_faults
from data_pipeline.read.find_skeleton import find_skeleton
from data_pipeline.read.layouts import LAYOUTS
from data_pipeline.read.records import ImageRecord
from data_pipeline.read.tfds_builder import from_example
from logocap_jax.skeletons import Skeleton


@runtime_checkable
class Source(Protocol):
    """Records by position, and what their keypoints are."""

    skeleton: Skeleton

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """`(width, height)` of each image, known without reading any."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, index: int) -> ImageRecord:
        """One record."""


class RecordSource:
    """Records that are at hand; their images stay in files until decoded."""

    def __init__(self, records: Sequence[ImageRecord], skeleton: Skeleton) -> None:
        self._records = records
        self._pickled: bytes | None = None
        self._lock = threading.Lock()
        self.skeleton = skeleton
        self.sizes = [(record.width, record.height) for record in records]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle once for all input workers: COCO's records take seconds each time."""
        with self._lock:
            if self._pickled is None:
                self._pickled = pickle.dumps((self._records, self.skeleton))
        return _unpickle_records, (self._pickled,)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._records)

    def __getitem__(self, index: int) -> ImageRecord:
        """One record."""
        return self._records[index]


def _unpickle_records(pickled: bytes) -> RecordSource:
    return RecordSource(*pickle.loads(pickled))


class PreparedSource:
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
        self.skeleton = find_skeleton(folder)
        builder = _open_builder(folder)
        if split not in builder.info.splits:
            raise ValueError(
                f"{folder}: got no split {split!r}, expected one of "
                f"{sorted(builder.info.splits)}"
            )
        index = np.array(builder.info.metadata["index"][split]).reshape(-1, 3)
        wanted = index[:, 2] > 0 if with_people_only else np.ones(len(index), bool)
        self._positions = np.flatnonzero(wanted)
        self._folder = folder
        self._records = builder.as_data_source(
            split, decoders={"image": tfds.decode.SkipDecoding()}
        )
        self.sizes = [(int(w), int(h)) for w, h, _ in index[wanted]]

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
    folder: pathlib.Path, split: str, *, with_people_only: bool = False
) -> Source:
    """Open a split of a prepared data set, or of one as it is downloaded.

    The data set says what its keypoints are: see `find_skeleton`.

    Args:
      folder: what `prepare_coco` wrote, or a folder in a layout of `layouts`.
      split: `train`, `val`, `test`, or COCO's `test-dev`, of which nobody has the
        annotations.
      with_people_only: only images in which a person has a labelled keypoint, as
        training wants them.

    Raises:
      ValueError: if the folder holds neither, has bad records (all are named), or
        nobody is there to train on.
    """
    known = {name for layout in LAYOUTS for name in layout.annotations}
    if split not in known:
        raise ValueError(f"got split {split!r}, expected one of {sorted(known)}")
    source = _open(folder, split, with_people_only)
    if with_people_only and len(source) == 0:
        raise ValueError(
            f"{folder}: got no image in split {split!r} in which a person has a "
            "labelled keypoint, expected at least one"
        )
    return source


def _open(folder: pathlib.Path, split: str, with_people_only: bool) -> Source:
    if is_prepared(folder):
        return PreparedSource(folder, split, with_people_only=with_people_only)
    if not coco.annotation_file(folder, split).is_file():
        known = [each.annotations for each in LAYOUTS if split in each.annotations]
        names = " or ".join(f"annotations/{files[split]}" for files in known)
        raise ValueError(
            f"{folder}: got neither a prepared data set nor COCO's layout, expected "
            f"the output of `logocap prepare` or {names}"
        )
    skeleton = find_skeleton(folder)
    read = coco.read_coco_split(folder, split, skeleton)
    raise_faults(read.faults)
    records = [r for r in read.records if r.has_people or not with_people_only]
    return RecordSource(records, skeleton)
