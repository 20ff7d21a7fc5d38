"""Downloading a data set, by TFDS's download manager, and unpacking it.

TFDS checks sums and keeps what is complete. It unpacks with TensorFlow, and holds all
files of an archive in memory meanwhile; so Python's `zipfile` unpacks here.
"""

import os
import pathlib
import shutil
import zipfile
from collections.abc import Collection, Sequence

import tensorflow_datasets as tfds
import tqdm
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from data_pipeline.prepare.archives import Archive
from data_pipeline.prepare.staging import staging

CACHE = "downloads"  # below the data set's folder


def lacking_archives(
    folder: pathlib.Path,
    splits: Collection[str],
    archives: Sequence[Archive],
) -> list[Archive]:
    """The archives that hold what the folder lacks of the splits, smallest first.

    Raises:
      ValueError: if a split is in none.
    """
    known = {split for archive in archives for split in archive.holds}
    unknown = sorted(set(splits) - known)
    if unknown or not splits:
        raise ValueError(
            f"got splits {unknown} to download, expected some of {sorted(known)}"
        )
    found = [archive for archive in archives if archive.lacking(folder, splits)]
    return sorted(found, key=lambda archive: archive.size)


def require_space(
    folder: pathlib.Path, out: pathlib.Path, archives: Sequence[Archive]
) -> str:
    """What disk space archives need that are downloaded, unpacked and prepared.

    Photographs do not get smaller in a zip file, and are kept as they are in
    ArrayRecord: so each of the three takes as much as the archive.

    Args:
      folder: of the data set; it may not be there yet.
      out: where it will be prepared.
      archives: those that the folder lacks; some may be there, but not unpacked.

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
    while not path.exists():
        path = path.parent
    return path


def download(
    folder: pathlib.Path,
    splits: Collection[str],
    archives: Sequence[Archive],
    *,
    address: str,
) -> None:
    """Bring a data set's folder what it lacks of some splits, file by file.

    Archives stay in `folder/downloads`, those that are complete; one that breaks off
    is begun anew next time. One of the same name in the folder itself is taken as it
    is, if it has the right sum. What is unpacked takes its name when it is whole.

    Args:
      folder: of the data set; it is made.
      splits: such as `train`.
      archives: what there is.
      address: what the paths of the archives are below.

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
