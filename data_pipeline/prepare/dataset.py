"""Writing a data set in COCO's layout as ArrayRecord, all or nothing.

TFDS writes and reads it, without TensorFlow. Its stock `coco` data sets have no
keypoints. Images are kept as encoded, so that nothing is lost or recomputed. The
metadata hold the skeleton, and what the loader must know of all images before it reads
one: width, height, number of people.
"""

import contextlib
import dataclasses
import fcntl
import functools
import io
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from data_pipeline.read.coco import AnnotationFile, CocoSplit, read_coco_split
from data_pipeline.read.coco_checks import integer_field
from data_pipeline.read.images import decode_image, read_encoded
from data_pipeline.read.layouts import (
    SPLITS,
    annotation_file,
    is_prepared,
    prepared_annotations,
)
from data_pipeline.read.records import Fault, ImageRecord, image_fault, raise_faults
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


if TYPE_CHECKING:
    from data_pipeline.prepare.beam_jobs import BeamJobs


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The outcome of `prepare_coco`."""

    #: Images written, per split; empty where nothing was to be done.
    written: dict[str, int]
    left_out: dict[str, int]  #: images left out, per split
    #: Annotations of categories without keypoints, per split; left out.
    other: dict[str, int]
    faults: tuple[Fault, ...]  #: why images were left out


def prepare_coco(
    coco_dir: pathlib.Path,
    out: pathlib.Path,
    *,
    skeleton: Skeleton,
    skip_bad: bool = False,
    progress: bool = True,
    beam_options: Sequence[str] | None = None,
) -> Prepared:
    """Check every record and image of a data set and write it as ArrayRecord.

    It is written beside `out` under another name and takes its name only when it is
    whole. A finished `out` is left as it is.

    Args:
      coco_dir: folder in COCO's layout, with `train`, `val` or both.
      out: folder to write; must be absent, empty or finished.
      skeleton: what `keypoints` must hold.
      skip_bad: leave bad records out instead of refusing them.
      progress: show a progress bar.
      beam_options: prepare with Apache Beam, with these options of its own.

    Raises:
      ValueError: names all bad records, unless `skip_bad`; or says why the folder as
        a whole is unusable.
    """
    if is_prepared(out):
        return Prepared(written={}, left_out={}, other={}, faults=())
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"{out}: got something else there, expected an empty folder")
    splits = _read_splits(coco_dir, skeleton)
    faults = [fault for split in splits.values() for fault in split.faults]
    kept_ids: dict[str, list[int]] = {name: [] for name in splits}
    out = out.resolve()  # "." has no parent to write beside
    with staging(out) as unfinished:
        jobs = None
        if beam_options is not None:
            jobs = _beam_jobs(coco_dir, skeleton, beam_options)
        generators = {
            name: functools.partial(
                _readable,
                split.records,
                coco_dir,
                faults,
                kept_ids[name],
                check=jobs.checker(name, unfinished / "bad") if jobs else decode_image,
                title=name if progress and not jobs else None,
            )
            for name, split in splits.items()
        }
        builder = PersonKeypoints(
            skeleton=skeleton,
            splits=generators,
            beam_examples=jobs.examples if jobs else None,
            data_dir=unfinished,
        )
        tfds.disable_progress_bar()
        config = tfds.download.DownloadConfig(
            beam_options=jobs.options if jobs else None
        )
        with contextlib.redirect_stdout(io.StringIO()):  # it talks about `unfinished`
            builder.download_and_prepare(download_config=config)
        if not skip_bad:
            raise_faults(faults)
        for name, image_ids in kept_ids.items():
            target = prepared_annotations(pathlib.Path(builder.data_path), name)
            write_annotations(annotation_file(coco_dir, name), target, image_ids)
        os.replace(builder.data_path, out)
    listed = {name: len(s.records) + s.left_out for name, s in splits.items()}
    written = {name: len(image_ids) for name, image_ids in kept_ids.items()}
    left_out = {name: listed[name] - written[name] for name in splits}
    other = {name: split.num_other for name, split in splits.items()}
    return Prepared(written, left_out, other, tuple(faults))


@contextlib.contextmanager
def staging(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to write in before it takes its name; removes what a kill left.

    Raises:
      ValueError: if another process prepares `out`.
    """
    folder = out.with_name(f".{out.name}.incomplete")
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder / "data", ignore_errors=True)
        try:
            yield folder / "data"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError as error:
        raise ValueError(
            f"{out}: got another process that prepares it, expected none; wait for it"
        ) from error
    finally:
        os.close(lock)


def write_annotations(
    annotations: pathlib.Path, target: pathlib.Path, image_ids: Collection[int]
) -> None:
    """Copy the annotations of people in some sound images; numbers stay as in the file.

    Segmentations and annotations of categories without keypoints are left out.
    """
    truth, kept = AnnotationFile(annotations).truth, set(image_ids)
    truth["images"] = [
        image for image in truth["images"] if integer_field(image, "id") in kept
    ]
    truth["annotations"] = [
        person
        for person in truth["annotations"]
        if integer_field(person, "image_id") in kept
    ]
    target.write_text(json.dumps(truth))


def _beam_jobs(
    coco_dir: pathlib.Path, skeleton: Skeleton, options: Sequence[str]
) -> "BeamJobs":
    try:
        from data_pipeline.prepare.beam_jobs import BeamJobs
    except ModuleNotFoundError as error:
        raise ValueError(
            f"got no module {error.name!r}, expected Apache Beam: "
            "pip install 'logocap-jax[beam]'"
        ) from error
    return BeamJobs(coco_dir, skeleton, options)


def _read_splits(coco_dir: pathlib.Path, skeleton: Skeleton) -> dict[str, CocoSplit]:
    names = [name for name in SPLITS if annotation_file(coco_dir, name).is_file()]
    if not names:
        expected = str(annotation_file(coco_dir, "train"))
        raise ValueError(f"{coco_dir}: got no annotations, expected {expected!r}")
    return {name: read_coco_split(coco_dir, name, skeleton) for name in names}


def _readable(
    records: Sequence[ImageRecord],
    folder: pathlib.Path,
    faults: list[Fault],
    kept_ids: list[int],
    *,
    check: Callable[[ImageRecord], object],
    title: str | None,
) -> Iterator[ImageRecord]:
    """Records whose image passes, noted in `kept_ids`; the others go to `faults`."""
    for record in tqdm.tqdm(records, desc=title, unit="image", disable=title is None):
        try:
            check(record)
        except ValueError as error:
            faults.append(image_fault(record, folder, error))
        else:
            kept_ids.append(record.image_id)
            yield record
    if not kept_ids:
        raise_faults(faults)
        raise ValueError("got a split that lists no images, expected at least one")
