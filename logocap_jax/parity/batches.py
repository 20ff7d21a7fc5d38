"""Batches of training cases, from the reference's arrays."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_pipeline.feed.affine import invert_affine, mirror_affine
from data_pipeline.feed.examples import make_example, stack_examples
from logocap_jax import geometry
from logocap_jax.methods import initial_poses
from logocap_jax.structures import Batch

# Slots for people per image: one compiled step serves batches of up to as many.
_PEOPLE = 30


def training_batch(
    images: Float[np.ndarray, "B H W 3"],
    *,
    masks: Bool[np.ndarray, "B h w"],
    joints: Sequence[np.ndarray],
    sizes: Sequence[np.ndarray],
    mirrored: Sequence[np.ndarray],
    transforms: Sequence[np.ndarray] | None = None,
) -> Batch:
    """A batch as the reference trains on it; sequences hold one entry per image.

    Args:
      images: normalised.
      masks: of stride 4.
      joints: `[P, K + 1, (x, y, labelled)]`, cells, the centre last. The reference
        mirrors them about another axis than pixels; `Batch` holds them as they lie in
        the input.
      sizes: of people, `[P]`, input px^2.
      mirrored: flags.
      transforms: `[2, 3]` from image to input px, before mirroring; the identity if
        not given.
    """
    pixels = denormalise(images)
    slots = max(_PEOPLE, *map(len, joints))
    examples = [
        make_example(
            pixels[i],
            masks={geometry.STRIDE: masks[i].astype(np.uint8)},
            mirrored=bool(mirrored[i]),
            max_people=slots,
            input_to_image=_to_image(transforms, i, mirrored[i], pixels.shape[2]),
            **_people(joints[i], sizes[i], mirrored[i]),
        )
        for i in range(len(pixels))
    ]
    return Batch(**jax.tree.map(jnp.asarray, stack_examples(examples)))


def denormalise(image: Float[np.ndarray, "B H W 3"]) -> UInt8[np.ndarray, "B H W 3"]:
    """The pixels that normalise to `image`."""
    mean = np.asarray(initial_poses.IMAGE_MEAN, np.float32)
    std = np.asarray(initial_poses.IMAGE_STD, np.float32)
    return np.rint((image * std + mean) * 255).astype(np.uint8)


def _people(
    joints: np.ndarray, size: np.ndarray, mirrored: np.ndarray
) -> dict[str, np.ndarray]:
    shift = (geometry.STRIDE - 1) / geometry.STRIDE * mirrored
    points = (joints[..., :2] + [shift, 0]) * geometry.STRIDE
    return {
        "keypoints": points[:, :-1],
        "labelled": joints[:, :-1, 2] > 0,
        "area": size,
        "has_center": joints[:, -1, 2] > 0,
        # Of no size: where a person has no keypoint, the centre is its middle.
        "box": np.concatenate([points[:, -1], points[:, -1]], axis=-1),
    }


def _to_image(
    transforms: Sequence[np.ndarray] | None,
    image: int,
    mirrored: np.ndarray,
    width: int,
) -> np.ndarray | None:
    if transforms is None:
        return None
    to_input = transforms[image]
    return invert_affine(mirror_affine(to_input, width) if mirrored else to_input)
