"""Body: dress a posed figure, cut it into shapes and paint it."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from data_pipeline.drawn.figure import SIDES, Figure, random_figure
from data_pipeline.drawn.paint import (
    Material,
    Shape,
    contrasting,
    ellipse,
    hull_of_discs,
    paint,
    random_material,
)
from logocap_jax.skeletons import COCO


@dataclasses.dataclass(frozen=True)
class Outfit:
    """The clothes of a person."""

    #: By use: `skin`, `hair`, `shirt`, `trousers`, `shoes`, `features` (eyes, mouth),
    #: `nose`; also `sleeve`, `cuff`, `thigh`, `shin`, each of cloth or skin.
    materials: dict[str, Material]
    skirt: bool  #: whether a skirt joins the thighs
    hair: str  #: `none`, `short` or `long`


@dataclasses.dataclass(frozen=True)
class Part:
    """One shape of a body."""

    shape: Shape  #: where it is, standing heights, relative to the middle of the hips
    material: str  #: key of `Outfit.materials`
    depth: float  #: nearness to the viewer; nearer parts hide farther ones
    shows: tuple[str, ...] = ()  #: names of the keypoints that can be seen on this part
    outlined: bool = True  #: whether a line separates it from what is behind it


class _Bone(NamedTuple):
    """A limb's part: its ends and their radii, material and gain in depth."""

    ends: tuple[str, str]
    radii: tuple[float, float]
    material: str
    gain: float


# Bent limbs sort themselves by depth; the gains order a body that stands flat.
_BONES = (
    _Bone(("ankle", "toe"), (0.032, 0.027), "shoes", -0.010),
    _Bone(("knee", "ankle"), (0.043, 0.029), "shin", -0.005),
    _Bone(("hip", "knee"), (0.062, 0.044), "thigh", 0.0),
    _Bone(("shoulder", "elbow"), (0.045, 0.034), "sleeve", 0.045),
    _Bone(("wrist", "hand"), (0.022, 0.032), "skin", 0.050),
    _Bone(("elbow", "wrist"), (0.034, 0.025), "cuff", 0.055),
)
_HIPS = ("left_hip", "right_hip")
_SHOULDERS = ("left_shoulder", "right_shoulder")
_KNEES = ("left_knee", "right_knee")


def random_outfit(rng: np.random.Generator) -> Outfit:
    """Random clothes, skin and hair."""
    materials = {name: random_material(rng) for name in ("shirt", "trousers", "shoes")}
    skin = random_material(rng, texture="plain")
    mark = contrasting(skin.colors[0])
    materials |= {
        "skin": skin,
        "hair": random_material(rng, texture=("plain", "stripes")[rng.integers(2)]),
        "features": _flat(skin, mark),
        "nose": _flat(skin, 0.8 * skin.colors[0] + 0.2 * mark),
    }
    skirt = bool(rng.random() < 0.2)
    sleeves, legs = rng.integers(0, 3, 2)
    for length, bone in enumerate(("sleeve", "cuff")):
        materials[bone] = materials["shirt" if sleeves > length else "skin"]
    for length, bone in enumerate(("thigh", "shin")):
        covered = legs > length and not skirt
        materials[bone] = materials["trousers" if covered else "skin"]
    return Outfit(materials, skirt, ("none", "short", "long")[rng.integers(3)])


def body_parts(figure: Figure, outfit: Outfit) -> list[Part]:
    """Cut a person into shapes, farthest from the viewer first."""
    limbs = [_limb(figure, side, bone) for side in SIDES for bone in _BONES]
    parts = limbs + _trunk(figure, skirt=outfit.skirt) + _head(figure, outfit.hair)
    return sorted(parts, key=lambda part: part.depth)


def _flat(material: Material, color: Float[np.ndarray, "3"]) -> Material:
    return dataclasses.replace(material, colors=np.stack([color, color]), ink=color)


def _limb(figure: Figure, side: str, bone: _Bone) -> Part:
    ends = [f"{side}_{end}" for end in bone.ends]
    return Part(
        _hull(figure, ends, bone.radii),
        bone.material,
        _depth(figure, *ends) + bone.gain,
        tuple(end for end in ends if end in COCO.keypoints),
    )


def _trunk(figure: Figure, *, skirt: bool) -> list[Part]:
    corners = _SHOULDERS + _HIPS
    hips = _depth(figure, *_HIPS)
    # The throat is before the collar of the shirt, the nape is behind it.
    neck = 0.025 if figure.faces_away else 0.035
    parts = [
        Part(
            _hull(figure, ("neck", *corners), (0.045, 0.045, 0.045, 0.056, 0.056)),
            "shirt",
            _depth(figure, *corners) + 0.03,
            corners,
        ),
        Part(_hull(figure, _HIPS, (0.064, 0.064)), "trousers", hips + 0.01, _HIPS),
        Part(
            _hull(figure, ("neck", "head"), (0.038, 0.038)),
            "skin",
            _depth(figure, "neck", "head") + neck,
        ),
    ]
    if skirt:
        places = np.stack([figure.points[n][:2] for n in (*_HIPS, *_KNEES)])
        places[2:] = 0.5 * (places[:2] + places[2:])
        radii = np.array([0.06, 0.06, 0.08, 0.08]) * figure.build.girth
        depth = max(hips, _depth(figure, *_HIPS, *_KNEES)) + 0.02
        parts.append(Part(hull_of_discs(places, radii), "trousers", depth, _HIPS))
    return parts


def _head(figure: Figure, hair: str) -> list[Part]:
    center, axes = figure.points["head"], figure.head_axes
    radius = figure.build.head
    up = axes[:2, 1] / np.hypot(*axes[:2, 1])
    across = np.array([-up[1], up[0]])

    def at(left: float, upward: float, forward: float) -> Float[np.ndarray, "3"]:
        return center + radius * (axes @ [left, upward, forward])

    def oval(
        middle: Float[np.ndarray, "3"],
        size: tuple[float, float],
        material: str,
        *shows: str,
        gain: float = 0.0,
        outlined: bool = True,
    ) -> Part:
        """An oval of `size` (height, width) in head radii."""
        shape = ellipse(middle[:2], radius * size[0] * up, radius * size[1] * across)
        # The pieces of one head stay together: their own depths only order them.
        depth = center[2] + 0.04 + 0.01 * (middle[2] - center[2]) + gain
        return Part(shape, material, float(depth), shows, outlined=outlined)

    parts = [
        oval(at(0.0, 0.0, 0.0), (1.0, 0.86), "skin"),
        oval(at(0.0, -0.55, 0.8), (0.06, 0.24), "features", outlined=False),
        oval(figure.points["nose"], (0.19, 0.13), "nose", "nose", outlined=False),
    ]
    for name in (f"{side}_ear" for side in SIDES):
        # They stand out, and so are seen even a little from behind.
        ear = figure.points[name]
        parts.append(oval(ear, (0.24, 0.16), "skin", name, gain=0.004 * radius))
    for name in (f"{side}_eye" for side in SIDES):
        eye = figure.points[name]
        parts.append(oval(eye, (0.17, 0.14), "features", name, outlined=False))
    if hair != "none":
        parts.append(oval(at(0.0, 0.72, 0.25), (0.3, 0.66), "hair", outlined=False))
        # Behind the face where one is seen, else before the skull.
        gain = (-0.01 if axes[2, 2] > 0.35 else 0.002) * radius
        parts.append(oval(at(0.0, 0.2, -0.25), (0.93, 0.86), "hair", gain=gain))
    if hair == "long":
        # It hangs down the back: before the trunk only when that is seen.
        gain = 0.02 if figure.faces_away else -0.08
        parts.append(oval(at(0.0, -0.4, -0.3), (1.5, 1.1), "hair", gain=gain))
    return parts


def _hull(figure: Figure, names: Sequence[str], radii: Sequence[float]) -> Shape:
    centers = np.stack([figure.points[name][:2] for name in names])
    return hull_of_discs(centers, np.array(radii) * figure.build.girth)


def _depth(figure: Figure, *names: str) -> float:
    return float(np.mean([figure.points[name][2] for name in names]))


_FACE = ("nose", "left_eye", "right_eye")


@dataclasses.dataclass(frozen=True)
class Sprite:
    """A painted person (or another being), in its own pixels."""

    rgb: UInt8[np.ndarray, "h w 3"]  #: colours, arbitrary where not `mask`
    mask: Bool[np.ndarray, "h w"]  #: pixels of the person
    #: `(x, y)`, pixel centres at integers; of a person COCO's.
    keypoints: Float[np.ndarray, "K 2"]
    seen: Bool[np.ndarray, " K"]  #: keypoint is not hidden by the person's own body
    #: An annotator would place the keypoint, seen or not.
    labelled: Bool[np.ndarray, " K"]


def random_sprite(rng: np.random.Generator, height: float) -> Sprite:
    """Paint a random person; `height` in pixels if it stood upright."""
    return render_person(random_figure(rng), random_outfit(rng), height)


def render_person(figure: Figure, outfit: Outfit, height: float) -> Sprite:
    """Paint a posed person, cropped to it and a small margin.

    `height` is the number of pixels of one standing height.
    """
    line = max(1, round(0.006 * height))
    parts = body_parts(figure, outfit)
    corners = height * np.concatenate([part.shape.outline for part in parts])
    low = np.floor(corners.min(axis=0)) - line - 1
    width, depth = (np.ceil(corners.max(axis=0)) - low).astype(int) + line + 2
    rgb = np.zeros((depth, width, 3), np.uint8)
    top = np.zeros((depth, width), np.uint8)
    for number, part in enumerate(parts, start=1):
        pixels = paint(
            rgb,
            part.shape.moved(height, -low),
            outfit.materials[part.material],
            unit=height,
            line=line if part.outlined else 0,
        )
        top[pixels] = number
    keypoints = height * figure.keypoints - low
    labelled = [not figure.faces_away or name not in _FACE for name in COCO.keypoints]
    return Sprite(
        rgb, top > 0, keypoints, _seen(parts, top, keypoints), np.array(labelled)
    )


def _seen(
    parts: list[Part], top: UInt8[np.ndarray, "h w"], keypoints: np.ndarray
) -> Bool[np.ndarray, "17"]:
    """The topmost part at a keypoint is one that shows it."""
    columns, rows = np.rint(keypoints).astype(int).T
    shown = [(), *(part.shows for part in parts)]
    return np.array(
        [
            name in shown[top[row, column]]
            for name, row, column in zip(COCO.keypoints, rows, columns, strict=True)
        ]
    )
