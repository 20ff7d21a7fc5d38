"""Weights by name or address: downloaded once, into a cache.

No weights come with the package.
"""

import difflib
import os
import pathlib
import re

from logocap_jax.methods import METHODS, find_format
from logocap_jax.public_weights import PublicWeights, of_mmpose
from logocap_jax.weights.download import Source, cache_folder, check_sum, fetch

# Another address in place of the publisher's, with the same paths below it.
MIRROR = "LOGOCAP_WEIGHTS_URL"


# To start training from; of no method.
_BACKBONES = {
    "hrnet_w32_imagenet": of_mmpose(
        "pretrain_models/hrnet_w32-36af842e.pth", "HRNet-W32", "ImageNet", 224
    ),
    "hrnet_w48_imagenet": of_mmpose(
        "pretrain_models/hrnet_w48-8ef0771d.pth", "HRNet-W48", "ImageNet", 224
    ),
}


def all_named() -> dict[str, PublicWeights]:
    """All weights that have a name, those of all methods first."""
    tables = (find_format(method).public for method in METHODS)
    return {
        **{name: row for table in tables for name, row in table.items()},
        **_BACKBONES,
    }


def find_named(path: str | os.PathLike[str]) -> PublicWeights | None:
    """The weights of this name; None: a path, or of no name. Files come first."""
    if os.path.exists(path):
        return None
    return all_named().get(os.fspath(path))


def find_weights(
    path: str | os.PathLike[str],
    *,
    base_url: str | None = None,
    cache: pathlib.Path | None = None,
) -> pathlib.Path:
    """The file or folder of weights: a path, a name, or an address to download.

    A path that is there is taken first. Files of names and addresses are downloaded
    once, into the cache, and checked.

    Args:
      path: path, name of `all_named`, or `https://...`, maybe with `#sha256=DIGITS`.
      base_url: in place of the publishers' addresses; by default `LOGOCAP_WEIGHTS_URL`.
      cache: folder; by default that of `cache_folder`.

    Raises:
      ValueError: nothing is there, or the download fails; says what to do.
    """
    text, folder = os.fspath(path), cache or cache_folder()
    if os.path.exists(path):
        return pathlib.Path(path)
    if text in all_named():
        return _find_file(text, base_url or os.environ.get(MIRROR), folder)
    # A path of this address has lost a slash.
    if match := re.fullmatch(r"(https?):/+([^#]+)(?:#sha256=([0-9a-fA-F]+))?", text):
        source = Source(f"{match[1]}://{match[2]}", (match[3] or "").lower())
        if match[1] == "http" and not source.sha256:
            raise ValueError(
                f"{source.url}: got an address that anybody on the way can change, "
                "expected https://, or its sum behind it: #sha256=DIGITS"
            )
        target = folder / "by_address" / source.key / source.file
        if target.exists():
            check_sum(target, source.sha256, name=str(target))
        return fetch(source, target)
    raise ValueError(f"{text}: no such weights, expected {_expected(text)}")


def where(name: str, cache: pathlib.Path | None = None) -> pathlib.Path:
    """The place of a name's file in the cache, there or not.

    Raises:
      ValueError: no such name.
    """
    if name not in all_named():
        raise ValueError(f"got {name!r}, expected {_expected(name)}")
    return (cache or cache_folder()) / all_named()[name].file


def _find_file(name: str, base_url: str | None, folder: pathlib.Path) -> pathlib.Path:
    named, target = all_named()[name], where(name, folder)
    if target.exists():
        check_sum(target, named.sha256, name=str(target))
        return target
    if not named.base:
        raise ValueError(
            f"{name}: cannot be downloaded by name; bring {named.file} from "
            f"{named.source}, and put it at {target}"
        )
    base = base_url or named.base
    source = Source(f"{base.rstrip('/')}/{named.path}", named.sha256, named.licence)
    return fetch(source, target)


def _expected(text: str) -> str:
    names = difflib.get_close_matches(text, all_named(), 3, 0.5) or [*all_named()][:3]
    return (
        "a file, the folder of a run, https://..., or a name that `logocap weights` "
        f"lists, such as {', '.join(names)}"
    )
