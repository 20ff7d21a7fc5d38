"""Skeletons: what the keypoints of a data set are called and how they relate.

NumPy only; the one module of this package that the data pipeline may import.
"""

import dataclasses
import functools
import re
from typing import Any

import numpy as np
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The keypoints of one data set.

    Attributes:
      name: name of the skeleton.
      keypoints: K keypoint names, in annotation order.
      sigmas: K standard deviations of annotators, as a share of the object's
        scale (the square root of its area): the `s_k` of the OKS.
      limbs: pairs of keypoint indices that a drawing joins.
      flip_pairs: pairs of keypoint indices that mirror each other; where not given,
        the names tell, see `side_pairs`; an empty tuple: each mirrors itself.
      sigmas_from: where the sigmas come from.
    """

    name: str
    keypoints: tuple[str, ...]
    sigmas: tuple[float, ...]
    limbs: tuple[tuple[int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    sigmas_from: str = "given"

    def __post_init__(self) -> None:
        """Check that the parts belong together.

        Raises:
          ValueError: if the numbers of keypoints and sigmas differ.
        """
        if len(self.sigmas) != len(self.keypoints):
            raise ValueError(
                f"skeleton {self.name!r}: got {len(self.sigmas)} sigmas, "
                f"expected one for each of its {len(self.keypoints)} keypoints"
            )

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.keypoints)

    @property
    def sigma_array(self) -> Float[np.ndarray, " K"]:
        """The sigmas as float32."""
        return np.asarray(self.sigmas, np.float32)

    def settings(self) -> dict[str, list[Any]]:
        """The part that a model depends on, for JSON: no name, limbs or sources."""
        return {
            "keypoints": list(self.keypoints),
            "sigmas": list(self.sigmas),
            "mirrored": self.flip_index.tolist(),
        }

    @property
    def sticks(self) -> tuple[tuple[int, int], ...]:
        """Pairs of keypoints whose distances describe a pose, in the scorer's order.

        Of COCO's and CrowdPose's keypoints the reference's; of others the limbs.
        """
        return _STICKS.get(self.keypoints, self.limbs)

    @property
    def mirrors(self) -> bool:
        """Sides are known; else neither training nor the flip test may mirror."""
        return self.flip_pairs is not None or side_pairs(self.keypoints) is not None

    @property
    def flip_index(self) -> Int[np.ndarray, " K"]:
        """For each keypoint the index of its mirror image; itself if none is known."""
        pairs = self.flip_pairs
        mirrors = np.arange(self.num_keypoints, dtype=np.int32)
        for one, other in side_pairs(self.keypoints) or () if pairs is None else pairs:
            mirrors[[one, other]] = other, one
        return mirrors


_WORDS = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+|[^\W_]")
_SIDES = {"left": "right", "right": "left"}
_LETTERS = {"l": "left", "r": "right"}


@functools.lru_cache  # asked for each training image
def side_pairs(names: tuple[str, ...]) -> tuple[tuple[int, int], ...] | None:
    """Pairs of keypoints that are each other's left and right, by their names.

    A side is a word of a name, `left` or `l`, in any place, case and way of separating
    words (`l-eye`, `EyeLeft`), or the start or end of a word (`lefteye`). One letter
    within a word is none: `lip` and `rip`, `l1` and `r1` are no pairs.

    Returns:
      Pairs of indices, the lower one first; None if the names tell of no side, or of
      one that lacks the other.
    """
    words = [_words(name) for name in names]
    partner = {}
    for index, own in enumerate(words):
        found = [words.index(each) for each in _mirrored(own) if words.count(each) == 1]
        if found:
            partner[index] = found[0]
        elif not _SIDES.keys().isdisjoint(own):
            return None
    if not all(partner.get(other) == one for one, other in partner.items()):
        return None
    return tuple(pair for pair in partner.items() if pair[0] < pair[1]) or None


def _words(name: str) -> tuple[str, ...]:
    lower = (word.lower() for word in _WORDS.findall(name))
    return tuple(_LETTERS.get(word, word) for word in lower)


def _mirrored(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The names that the mirror image may have, the likeliest first."""
    if not _SIDES.keys().isdisjoint(words):
        return [tuple(_SIDES.get(word, word) for word in words)]
    swapped = [
        (*words[:place], re.sub(pattern, other, word), *words[place + 1 :])
        for place, word in enumerate(words)
        for side, other in _SIDES.items()
        for pattern in (f"^{side}", f"{side}$")
    ]
    return [each for each in swapped if each != words]


# Names, order and limbs: COCO's `categories`; sigmas: pycocotools' `kpt_oks_sigmas`.
COCO = Skeleton(
    name="coco",
    keypoints=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    sigmas=(
        *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
        *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
    limbs=(
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12)),
        *((5, 6), (5, 7), (6, 8), (7, 9), (8, 10), (1, 2), (0, 1), (0, 2)),
        *((1, 3), (2, 4), (3, 5), (4, 6)),
    ),
    sigmas_from="pycocotools",
)

# Names and order: CrowdPose's `categories`; sigmas: its official evaluation,
# crowdposetools. The `skeleton` of its files is COCO's and does not fit its keypoints.
CROWDPOSE = Skeleton(
    name="crowdpose",
    keypoints=(
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
        "head",
        "neck",
    ),
    sigmas=(
        *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107),
        *(0.087, 0.087, 0.089, 0.089, 0.079, 0.079),
    ),
    limbs=(
        *((12, 13), (13, 0), (13, 1), (0, 2), (2, 4), (1, 3), (3, 5)),
        *((0, 6), (1, 7), (6, 7), (6, 8), (8, 10), (7, 9), (9, 11)),
    ),
    sigmas_from="crowdposetools",
)

# By names of keypoints; in the order in which the reference's scorers read them.
_STICKS = {
    COCO.keypoints: (
        *((0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7)),
        *((5, 11), (6, 8), (6, 12), (7, 9), (8, 10), (11, 12), (11, 13), (12, 14)),
        *((13, 15), (14, 16)),
    ),
    CROWDPOSE.keypoints: (
        *((12, 13), (13, 0), (13, 1), (0, 2), (1, 3), (2, 4), (3, 5), (0, 6)),
        *((1, 7), (6, 8), (7, 9), (8, 10), (9, 11), (6, 7), (0, 1)),
    ),
}

# By number of keypoints: of weights that do not say which keypoints theirs are.
KNOWN = {skeleton.num_keypoints: skeleton for skeleton in (COCO, CROWDPOSE)}


def parse_skeleton(content: Any) -> Skeleton:
    """Rebuild a skeleton.

    Args:
      content: what `dataclasses.asdict` made of one, be it through JSON.

    Raises:
      ValueError: if it is none.
    """
    try:
        pairs = content["flip_pairs"]
        return Skeleton(
            name=str(content["name"]),
            keypoints=tuple(map(str, content["keypoints"])),
            sigmas=tuple(map(float, content["sigmas"])),
            limbs=tuple((int(one), int(other)) for one, other in content["limbs"]),
            flip_pairs=None
            if pairs is None
            else tuple((int(one), int(other)) for one, other in pairs),
            sigmas_from=str(content["sigmas_from"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"got a skeleton with a wrong or missing part ({error!s:.60}), expected "
            f"{', '.join(field.name for field in dataclasses.fields(Skeleton))}"
        ) from error
