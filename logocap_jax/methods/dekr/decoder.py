"""The rules by which publishers of DEKR weights turn maps into poses."""

from typing import NamedTuple

from logocap_jax.geometry import STRIDE
from logocap_jax.methods.pose_map import RELEASE_WINDOWS, Windows


class Decoder(NamedTuple):
    """Where decoders differ (specification of mmpose's forms, 5 and 6).

    Attributes:
      rounding: of sizes and middles of images at test time, see `InputSpec`.
      multiple: of the sides of inputs, px.
      mirror_shift: the mirror image is moved left by it, px.
      heatmap_shift: the mirror image's heatmaps are moved right by it, cells.
      pose_shift: added to x of the poses of the mirror image, cells.
      windows: of centres' peaks.
      heat: heat is read `below` a keypoint, at the pixel; `between` cells; or between
        `pixels` of the heatmaps at input size.
      hottest_first: pose NMS visits poses by falling heat; else best centre first.
      score_first: the scorer sees input px and the heat alone, before pose NMS, and
        its OKS goes to the keypoints' scores; else it comes last, in image px.
    """

    rounding: str = "half up"
    multiple: int = 64
    mirror_shift: int = STRIDE - 1
    heatmap_shift: int = 0
    pose_shift: float = 0.0
    windows: Windows = RELEASE_WINDOWS
    heat: str = "below"
    hottest_first: bool = False
    score_first: bool = False


_MMPOSE = Decoder(mirror_shift=0, windows=((5, 0),), hottest_first=True)
DECODERS = {
    "official": Decoder(),
    "mmpose": _MMPOSE._replace(
        rounding="none",
        multiple=32,
        heatmap_shift=1,
        pose_shift=(STRIDE - 1) / STRIDE,
        heat="between",
        score_first=True,
    ),
    "mmpose_0x": _MMPOSE._replace(rounding="half even", pose_shift=1.0, heat="pixels"),
}
