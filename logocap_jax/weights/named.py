"""Public weights by name: where they are, whose they are, and how good.

Nothing here was downloaded by this project: addresses, digits and AP are those that the
publishers state. No weights come with the package.
"""

import difflib
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from logocap_jax.weights.download import Source, cache_folder, fetch

MMPOSE = "https://download.openmmlab.com/mmpose/"
_DEKR_1X = "v1/body_2d_keypoint/dekr/"
_DEKR_0X = "bottom_up/dekr/"
# Another address in place of the publisher's, with the same paths below it.
MIRROR = "LOGOCAP_WEIGHTS_URL"


class Named(NamedTuple):
    """Weights that have a name.

    Attributes:
      method: that they belong to; empty: a backbone to start training from.
      backbone: its name.
      data: that they were trained on.
      short_side: of the input that they were trained for, px.
      base: address of the publisher.
      path: of the file below it; without `base` the file's name, which users bring.
      sha256: its first digits, as far as they are published.
      licence: that the publisher states.
      ap: that the publisher states, of one scale with flip test.
      settings: of the method with which that AP was measured.
      source: where the file comes from, in words.
    """

    method: str
    backbone: str
    data: str
    short_side: int
    path: str
    base: str = ""
    sha256: str = ""
    licence: str = "Apache-2.0 (mmpose)"
    ap: str = ""
    settings: Mapping[str, Any] = {}
    source: str = "mmpose"

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.path.rpartition("/")[2]


def _mmpose(folder: str, file: str, **fields: Any) -> Named:
    digits = re.search(r"[-_]([0-9a-f]{8})[-_.]", file)
    assert digits is not None  # its publisher puts them there
    return Named(path=folder + file, base=MMPOSE, sha256=digits[1], **fields)


def _dekr(
    folder: str, file: str, backbone: str, data: str, side: int, ap: str
) -> Named:
    decoder = "mmpose" if folder.startswith(_DEKR_1X) else "mmpose_0x"
    return _mmpose(
        folder,
        file,
        method="dekr",
        backbone=f"HRNet-{backbone}",
        data=data,
        short_side=side,
        ap=ap,
        settings={"decoder": decoder},
    )


def _imagenet(backbone: str, file: str) -> Named:
    return _mmpose(
        "pretrain_models/",
        file,
        method="",
        backbone=f"HRNet-{backbone}",
        data="ImageNet",
        short_side=224,
    )


def _official(backbone: str, side: int, file: str, ap: str) -> Named:
    return Named(
        *("dekr", f"HRNet-{backbone}", "COCO", side, file),
        licence="MIT (the code)",
        ap=ap,
        source="the cloud folder that the README of HRNet/DEKR on GitHub links to",
    )


WEIGHTS: Mapping[str, Named] = {
    "dekr_w32_coco": _dekr(
        f"{_DEKR_1X}coco/",
        "dekr_hrnet-w32_8xb10-140e_coco-512x512_ac7c17bf-20221228.pth",
        *("W32", "COCO", 512, "68.6"),
    ),
    "dekr_w48_coco": _dekr(
        f"{_DEKR_1X}coco/",
        "dekr_hrnet-w48_8xb10-140e_coco-640x640_74796c32-20230124.pth",
        *("W48", "COCO", 640, "71.4"),
    ),
    "dekr_w32_crowdpose": _dekr(
        f"{_DEKR_1X}crowdpose/",
        "dekr_hrnet-w32_8xb10-300e_crowdpose-512x512_147bae97-20221228.pth",
        *("W32", "CrowdPose", 512, "66.3"),
    ),
    "dekr_w48_crowdpose": _dekr(
        f"{_DEKR_1X}crowdpose/",
        "dekr_hrnet-w48_8xb5-300e_crowdpose-640x640_4ea6031e-20230128.pth",
        *("W48", "CrowdPose", 640, "67.9"),
    ),
    "dekr_w32_coco_0x": _dekr(
        _DEKR_0X,
        "hrnet_w32_coco_512x512-2a3056de_20220928.pth",
        *("W32", "COCO", 512, "68.0"),
    ),
    "dekr_w48_coco_0x": _dekr(
        _DEKR_0X,
        "hrnet_w48_coco_640x640-8854b2f1_20220930.pth",
        *("W48", "COCO", 640, "70.9"),
    ),
    "dekr_w32_crowdpose_0x": _dekr(
        _DEKR_0X,
        "hrnet_w32_crowdpose_512x512-685aff75_20220924.pth",
        *("W32", "CrowdPose", 512, "66.3"),
    ),
    "dekr_w48_crowdpose_0x": _dekr(
        _DEKR_0X,
        "hrnet_w48_crowdpose_640x640-ef6b6040_20220930.pth",
        *("W48", "CrowdPose", 640, "68.2"),
    ),
    "dekr_w32_coco_official": _official(
        *("W32", 512, "pose_dekr_hrnetw32_coco.pth", "68.0")
    ),
    "dekr_w48_coco_official": _official(
        *("W48", 640, "pose_dekr_hrnetw48_coco.pth", "71.0")
    ),
    "hrnet_w32_imagenet": _imagenet("W32", "hrnet_w32-36af842e.pth"),
    "hrnet_w48_imagenet": _imagenet("W48", "hrnet_w48-8ef0771d.pth"),
}


def find_named(path: str | os.PathLike[str]) -> Named | None:
    """The weights of this name; None: a path, or of no name. Files come first."""
    if os.path.exists(path):
        return None
    return WEIGHTS.get(os.fspath(path))


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
      path: path, name of `WEIGHTS`, or `https://...`, maybe with `#sha256=DIGITS`.
      base_url: in place of the publishers' addresses; by default `LOGOCAP_WEIGHTS_URL`.
      cache: folder; by default that of `cache_folder`.

    Raises:
      ValueError: nothing is there, or the download fails; says what to do.
    """
    text, folder = os.fspath(path), cache or cache_folder()
    if os.path.exists(path):
        return pathlib.Path(path)
    if text in WEIGHTS:
        return _find_file(text, base_url or os.environ.get(MIRROR), folder)
    # A path of this address has lost a slash.
    if match := re.fullmatch(r"(https?):/+([^#]+)(?:#sha256=([0-9a-f]+))?", text):
        source = Source(f"{match[1]}://{match[2]}", match[3] or "")
        if match[1] == "http" and not source.sha256:
            raise ValueError(
                f"{source.url}: got an address that anybody on the way can change, "
                "expected https://, or its sum behind it: #sha256=DIGITS"
            )
        return fetch(source, folder / "by_address" / source.key / source.file)
    raise ValueError(f"{text}: no such weights, expected {_expected(text)}")


def where(name: str, cache: pathlib.Path | None = None) -> pathlib.Path:
    """The place of a name's file in the cache, there or not.

    Raises:
      ValueError: no such name.
    """
    if name not in WEIGHTS:
        raise ValueError(f"got {name!r}, expected {_expected(name)}")
    return (cache or cache_folder()) / WEIGHTS[name].file


def _find_file(name: str, base_url: str | None, folder: pathlib.Path) -> pathlib.Path:
    named, target = WEIGHTS[name], where(name, folder)
    if target.exists():
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
    near = difflib.get_close_matches(text, WEIGHTS, 3, 0.5)
    names = f"one of the names {', '.join(near or WEIGHTS)}"
    return f"a file, the folder of a run, https://..., or {names}"
