"""COCO's archives: download them, by TFDS's download manager, and unpack them.

TFDS checks sums and keeps what is complete. It unpacks with TensorFlow, and holds all
files of an archive in memory meanwhile; so Python's `zipfile` unpacks here.
"""

import dataclasses
import os
import pathlib
import shutil
import zipfile
from collections.abc import Collection, Mapping, Sequence

import tensorflow_datasets as tfds
import tqdm
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from data_pipeline.prepare.dataset import staging

COCO_ADDRESS = "http://images.cocodataset.org"
CACHE = "downloads"  # below the data set's folder


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip file."""

    path: str  #: below the address of the data set
    size: int  #: bytes
    sha256: str  #: of the file, hexadecimal
    #: By split, the file or folder in it that is needed; it has the same path in the
    #: data set's own folder.
    holds: Mapping[str, str]

    @property
    def name(self) -> str:
        """File name."""
        return self.path.rpartition("/")[2]

    def lacking(self, folder: pathlib.Path, splits: Collection[str]) -> list[str]:
        """Paths that the splits need and the data set's folder lacks."""
        held = [path for split, path in self.holds.items() if split in splits]
        places = ("", "images")
        return [
            path
            for path in held
            if not any((folder / place / path).exists() for place in places)
        ]


# Sizes and sums: those that TFDS 4.9.10 registers for its own `coco`.
COCO_ARCHIVES = (
    Archive(
        path="annotations/image_info_test2017.zip",
        size=1_144_034,
        sha256="e52f412dd7195ac8f98d782b44c6dd30ea10241e9f42521f67610fbe055a74f8",
        holds={"test-dev": "annotations/image_info_test-dev2017.json"},
    ),
    Archive(
        path="annotations/annotations_trainval2017.zip",
        size=252_907_541,
        sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        holds={
            "train": "annotations/person_keypoints_train2017.json",
            "val": "annotations/person_keypoints_val2017.json",
        },
    ),
    Archive(
        path="zips/val2017.zip",
        size=815_585_330,
        sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        holds={"val": "val2017"},
    ),
    Archive(
        path="zips/test2017.zip",
        size=6_646_970_404,
        sha256="c7908c3c9f94ba2f3340ebbeec58c25db6be8774f18d68c2f15d0e369d95baba",
        holds={"test-dev": "test2017"},
    ),
    Archive(
        path="zips/train2017.zip",
        size=19_336_861_798,
        sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        holds={"train": "train2017"},
    ),
)


def lacking_archives(
    folder: pathlib.Path,
    splits: Collection[str],
    archives: Sequence[Archive],
) -> list[Archive]:
    """The archives that hold what the folder lacks of the splits, smallest first.

    Raises:
      ValueError: if a split is in none.
    """
    all_splits = {split for archive in archives for split in archive.holds}
    unknown = sorted(set(splits) - all_splits)
    if unknown or not splits:
        raise ValueError(
            f"got splits {unknown} to download, expected some of {sorted(all_splits)}"
        )
    lacking = [archive for archive in archives if archive.lacking(folder, splits)]
    return sorted(lacking, key=lambda archive: archive.size)


def require_space(
    folder: pathlib.Path, out: pathlib.Path, archives: Sequence[Archive]
) -> str:
    """Check that there is disk space to download, unpack and prepare archives.

    Photographs do not shrink in a zip file, and are kept unchanged in ArrayRecord: each
    of the three takes as much as the archive. Archives that are there but not unpacked
    are not fetched again. Returns the space needed, in words.

    Raises:
      ValueError: if a disk has less.
    """
    total = sum(archive.size for archive in archives)
    paths = (*folder.glob("*.zip"), *(folder / CACHE).glob("*.zip"))
    there = {path.stat().st_size for path in paths}
    to_fetch = sum(archive.size for archive in archives if archive.size not in there)
    needed = {_existing(folder): to_fetch + total}
    if _existing(out).stat().st_dev == _existing(folder).stat().st_dev:
        needed[_existing(folder)] += total
    else:
        needed[_existing(out)] = total
    for place, size in needed.items():
        free = shutil.disk_usage(place).free
        if free < size:
            raise ValueError(
                f"{place}: got {_gigabytes(free)} of free disk space, expected "
                f"{_gigabytes(size)}, for what is downloaded, unpacked and prepared"
            )
    return (
        f"{_gigabytes(to_fetch)} to download; with what is unpacked and prepared it "
        f"takes {_gigabytes(sum(needed.values()))} of disk space"
    )


def _existing(path: pathlib.Path) -> pathlib.Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def download(
    folder: pathlib.Path,
    splits: Collection[str],
    archives: Sequence[Archive],
    *,
    address: str,
) -> None:
    """Download the files of some splits that a data set's folder lacks.

    Archives stay in `folder/downloads`, those that are complete; one that breaks off
    is begun anew next time. One of the same name in the folder itself is taken as it
    is, if it has the right sum. Unpacked files take their names when they are whole.

    Args:
      folder: of the data set; it is made.
      splits: such as `train`.
      archives: all that exist.
      address: URL that the paths of the archives are below.

    Raises:
      ValueError: if a file is not there, breaks off, or is another one than expected,
        or another process downloads it.
      OSError: if the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with staging(folder / CACHE):  # one process at a time
        for archive in lacking_archives(folder, splits, archives):
            path = _fetch(folder, archive, f"{address.rstrip('/')}/{archive.path}")
            for wanted in archive.lacking(folder, splits):
                _unpack(path, wanted, folder / wanted)


def _fetch(folder: pathlib.Path, archive: Archive, url: str) -> pathlib.Path:
    """The archive on this disk."""
    cache = folder / CACHE
    expected = UrlInfo(
        size=archive.size, checksum=archive.sha256, filename=archive.name
    )
    manager = tfds.download.DownloadManager(
        download_dir=cache,
        extract_dir=cache,  # unused, but it is made
        manual_dir=folder,
        url_infos={url: expected},
    )
    try:
        return pathlib.Path(manager.download(url))
    except NonMatchingChecksumError as error:
        manual = folder / archive.name
        raise ValueError(
            f"{manual if manual.exists() else url}: got another file, of "
            f"{manager.downloaded_size:,d} bytes, expected {archive.size:,d} with the "
            f"SHA-256 {archive.sha256}"
        ) from error
    except (tfds.download.DownloadError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{url}: got no whole file ({reason}), expected {archive.size:,d} bytes; "
            "run the command again, files that are complete are kept"
        ) from error
    finally:
        for rest in cache.glob("*.tmp.*"):
            shutil.rmtree(rest, ignore_errors=True)


def _unpack(path: pathlib.Path, wanted: str, target: pathlib.Path) -> None:
    """Unpack one file or folder of an archive to its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with staging(target) as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                names = [
                    name
                    for name in archive.namelist()
                    if name == wanted or name.startswith(f"{wanted}/")
                ]
                for name in tqdm.tqdm(names, desc=target.name, unit="file"):
                    archive.extract(name, folder)
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{path}: got a damaged archive ({error}), expected a whole one; "
                "remove it and run the command again"
            ) from error
        if not names:
            raise ValueError(f"{path}: got an archive without {wanted!r}, expected it")
        os.replace(folder / wanted, target)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
