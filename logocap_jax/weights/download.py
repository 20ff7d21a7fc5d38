"""Download a file once: resumed, checked, and whole or not there at all.

`urllib` does it, as it takes proxies from the environment; of the libraries for this
(pooch, torch.hub's) none goes on where a download broke off.
"""

import contextlib
import errno
import fcntl
import hashlib
import http.client
import os
import pathlib
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import tqdm

CACHE = "LOGOCAP_CACHE"
_CHUNK = 1 << 16
TIMEOUT_S = 30.0  # without a byte
_CONNECTIONS = 50
_SLOWEST = 1000  # bytes per second, over as long as that
_PARTIAL = 206
_NOT_SATISFIABLE = 416


class Source(NamedTuple):
    """A file on the network.

    Attributes:
      url: its address.
      sha256: the first digits of its sum; empty: unknown.
      licence: in words; empty: unknown.
    """

    url: str
    sha256: str = ""
    licence: str = ""

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.url.partition("?")[0].rstrip("/").rpartition("/")[2]

    @property
    def key(self) -> str:
        """A folder of its own for each address and sum."""
        return hashlib.sha256(f"{self.url} {self.sha256}".encode()).hexdigest()[:16]


class _BrokenOffError(Exception):
    """The connection has ended before the file has."""


def cache_folder() -> pathlib.Path:
    """The folder of downloads: `LOGOCAP_CACHE`, else in the user's cache folder."""
    if folder := os.environ.get(CACHE):
        return pathlib.Path(folder)
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "logocap_jax" / "weights"


def fetch(
    source: Source, target: pathlib.Path, *, timeout_s: float = TIMEOUT_S
) -> pathlib.Path:
    """Download a file, unless it is there.

    It gets its name when it is whole and its sum is right. One that breaks off is
    continued, at once and by the next call. Of several processes one downloads.

    Args:
      source: of the file.
      target: its place.
      timeout_s: without a byte, or with hardly any, it counts as broken off.

    Returns:
      `target`.

    Raises:
      ValueError: it cannot be had, or is another file.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            if not target.exists():
                _fetch(source, target, timeout_s)
    except OSError as error:
        raise ValueError(
            f"{target}: cannot be written ({error.strerror or error}); free some space "
            f"or set {CACHE} to another folder"
        ) from error
    return target


@contextlib.contextmanager
def _alone(target: pathlib.Path) -> Iterator[None]:
    """Other processes wait here for the one that downloads."""
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(source: Source, target: pathlib.Path, timeout_s: float) -> None:
    part = target.with_name(f".{target.name}.part")
    licence = f"; licence: {source.licence}" if source.licence else ""
    print(f"downloading {source.url} to {target}{licence}", file=sys.stderr)
    continued = part.exists()
    if not (continued and source.sha256 and _sum_of(part).startswith(source.sha256)):
        _download(source, part, target, timeout_s)
    if continued and not _sum_of(part).startswith(source.sha256):
        part.unlink()  # the file may have changed since the first part
        _download(source, part, target, timeout_s)
    try:
        check_sum(part, source.sha256, name=source.url)
    except ValueError:
        part.unlink()
        raise
    os.replace(part, target)


def check_sum(path: pathlib.Path, sha256: str, *, name: str) -> None:
    """Check a file against the first digits of its sum; `name` is for the error.

    Raises:
      ValueError: if it is another file.
    """
    found = _sum_of(path)
    if not found.startswith(sha256):
        raise ValueError(
            f"{name}: got a file with SHA-256 {found[:16]}..., expected {sha256}...; "
            "it is damaged or another one: remove it, if it is there, and get it again"
        )


def _sum_of(path: pathlib.Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download(
    source: Source, part: pathlib.Path, target: pathlib.Path, timeout_s: float
) -> None:
    """Fill the part, in some connections, while each brings some."""
    for attempt in range(_CONNECTIONS):
        before = part.stat().st_size if part.exists() else 0
        try:
            _continue(source, part, timeout_s)
        except _BrokenOffError as error:
            if part.stat().st_size > before and attempt + 1 < _CONNECTIONS:
                continue
            raise _failure(source, target, str(error)) from error
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == _NOT_SATISFIABLE and before:
                part.unlink()  # of another file
                continue
            raise _failure(source, target, f"{error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise _failure(source, target, str(error.reason)) from error
        except (TimeoutError, http.client.HTTPException, ConnectionError) as error:
            raise _failure(source, target, _words(error)) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                part.unlink(missing_ok=True)
            raise
        return


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _failure(source: Source, target: pathlib.Path, reason: str) -> ValueError:
    return ValueError(
        f"{source.url}: got no whole file ({' '.join(reason.split())}); run the same "
        f"command again to go on, or download it yourself and put it at {target}"
    )


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to http."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The next request."""
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.URLError(f"a redirect to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _continue(source: Source, part: pathlib.Path, timeout_s: float) -> None:
    """One connection: append what the part lacks."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(source.url, headers={"User-Agent": "logocap-jax"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    opener = urllib.request.build_opener(_NoDowngrade)
    with opener.open(request, timeout=timeout_s) as response:
        if start and response.status != _PARTIAL:
            start = 0  # the server begins anew
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        with part.open("ab" if start else "wb") as stream:
            bar = tqdm.tqdm(
                total=total, initial=start, unit="B", unit_scale=True, disable=None
            )
            with bar:
                for chunk in _chunks(response, timeout_s):
                    stream.write(chunk)
                    bar.update(len(chunk))
                stream.flush()
    size = part.stat().st_size
    if total is not None and size != total:
        raise _BrokenOffError(f"it ended after {size:,d} of {total:,d} bytes")


def _chunks(response: Any, timeout_s: float) -> Iterator[bytes]:
    """What arrives, until it ends or nearly nothing arrives any more."""
    began, arrived = time.monotonic(), 0
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except (TimeoutError, http.client.IncompleteRead, ConnectionError) as error:
            raise _BrokenOffError(_words(error)) from error
        if not chunk:
            return
        yield chunk
        arrived += len(chunk)
        if time.monotonic() - began > timeout_s:
            if arrived < _SLOWEST * timeout_s:
                raise _BrokenOffError(f"{arrived:,d} bytes in {timeout_s:.0f} s")
            began, arrived = time.monotonic(), 0
