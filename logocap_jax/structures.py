"""The arrays that travel between rooms, as frozen pytrees.

Axes: `B` batch, `H W` input pixels, `h w` cells of stride 4, `K` keypoints,
`P` people of the ground truth (padded), `N` pose slots (padded), `D` embedding.
Points are `(x, y)`, pixel centres at integers. Frames: `image` (original pixels),
`input` (network pixels), `cell` (stride 4).
"""

import dataclasses
import typing

import jax
from jaxtyping import Array, Bool, Float, Int, UInt8


@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
    """One batch as the data pipeline ships it; fields are its array names.

    Attributes:
      image: RGB input pixels, not normalised.
      masks: by stride, input px per cell: 1 where the loss counts, 0 on crowds and
        people without keypoints.
      keypoints: ground truth, input px; arbitrary where not `labelled`.
      labelled: keypoint is annotated (it may lie outside the input).
      area: person area, input px^2; 1 for padded slots.
      size: the size by which offsets are weighted and people compared, input px^2, as
        the method measures it (`InputSpec.person_size`): float32, and what rounding
        took off; 1 and 0 for padded slots.
      person: slot holds a person with at least one labelled keypoint.
      has_center: person is large enough to own a pose centre; also without labelled
        keypoints, where the centre is the middle of the box. False for padded slots.
      mirrored: the augmentation mirrored this image.
      box: person box `x0 y0 x1 y1`, input px; 0 for padded slots.
      content: upright box around the photograph, `x0 y0 x1 y1`, input px: from the
        outer edges of its pixels, half a pixel beyond their centres.
      input_to_image: affine transform from input px to image px.
      scaled: as of `View`; training has none.
    """

    image: UInt8[Array, "*B H W 3"]
    masks: dict[int, UInt8[Array, "*B _ _"]]
    keypoints: Float[Array, "*B P K 2"]
    labelled: Bool[Array, "*B P K"]
    area: Float[Array, "*B P"]
    size: Float[Array, "*B P 2"]
    person: Bool[Array, "*B P"]
    has_center: Bool[Array, "*B P"]
    mirrored: Bool[Array, "*B"]
    box: Float[Array, "*B P 4"]
    content: Float[Array, "*B 4"]
    input_to_image: Float[Array, "*B 2 3"]
    scaled: tuple[UInt8[Array, "*B _ _ 3"], ...] = ()

    @property
    def view(self) -> "View":
        """The images as a method sees them at test time."""
        return View(self.image, None, self.input_to_image, self.scaled)


@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class View:
    """Images as a method sees them at test time.

    Attributes:
      image: RGB input pixels, not normalised.
      valid_size: height and width of each image in its array, input px, from the first
        row and column on; the rest changes nothing. None: the whole array.
      input_to_image: affine transforms from input px to image px; None: unknown.
      scaled: the images at the further scales that the method asks for, in its order,
        warped from the photographs. Valid sizes and transforms are those of scale 1.
    """

    image: UInt8[Array, "*B H W 3"]
    valid_size: Int[Array, "*B 2"] | None = None
    input_to_image: Float[Array, "*B 2 3"] | None = None
    scaled: tuple[UInt8[Array, "*B _ _ 3"], ...] = ()


@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DenseMaps:
    """Maps that the network predicts at stride 4, float32.

    Attributes:
      heatmaps: K keypoint heatmaps and, last, the pose-centre heatmap.
      offsets: `cell - keypoint` in cells (reference behaviour), `(dx, dy)`.
      embedding: features that keypoint expansion maps sample.
      selector: logits of the confidence in each cell's offsets; C is 1 or K. None:
        there is no selector.
    """

    heatmaps: Float[Array, "*B h w K1"]
    offsets: Float[Array, "*B h w K 2"]
    embedding: Float[Array, "*B h w D"]
    selector: Float[Array, "*B h w C"] | None = None


@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Poses:
    """Pose slots of a batch (or, without `B`, of one image), best centre first.

    Attributes:
      keypoints: input px.
      keypoint_scores: one score per keypoint.
      scores: one score per pose.
      valid: the slot holds a pose; all else in an invalid slot is arbitrary.
      initial_keypoints: where the keypoints were before refinement, input px; None
        where that is unknown.
    """

    keypoints: Float[Array, "*B N K 2"]
    keypoint_scores: Float[Array, "*B N K"]
    scores: Float[Array, "*B N"]
    valid: Bool[Array, "*B N"]
    initial_keypoints: Float[Array, "*B N K 2"] | None = None


@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LabelledPoses:
    """Poses that a model has found, each by itself, and how good they are.

    Attributes:
      keypoints: image px.
      keypoint_scores: one score per keypoint.
      oks: similarity to the person that COCO's evaluation would take for it.
    """

    keypoints: Float[Array, "*B K 2"]
    keypoint_scores: Float[Array, "*B K"]
    oks: Float[Array, "*B"]
