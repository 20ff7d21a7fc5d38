"""Anatomy and pose: a random articulated person, projected to the image plane.

Body frame: x to the person's own left, y up, z forward; unit: standing height.
"""

import dataclasses
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from logocap_jax.skeletons import COCO

SIDES = {"left": 1.0, "right": -1.0}

_T = TypeVar("_T")
Span = tuple[int, int]  # Degrees, drawn uniformly from low to high.


class Limb(NamedTuple):
    """Joint limits of an arm or a leg, in degrees."""

    raising: Span  #: angle of the upper bone from hanging straight down
    azimuth: Span  #: where it is raised to: 0 sideways, 90 forward, -90 backward
    bend: Span  #: angle of the lower bone from the direction of the upper one
    #: (outward, up, forward) direction that the lower bone bends to.
    toward: tuple[float, float, float]


class Stance(NamedTuple):
    """Two legs, either of which may be the left one, and the spine's pitch."""

    legs: tuple[Limb, Limb]
    pitch: Span


def _leg(raising: Span, azimuth: Span, bend: Span) -> Limb:
    # Knees bend backward; for a raised thigh that is down.
    return Limb(raising, azimuth, bend, (0.0, -0.6, -1.0))


# name -> (joint limits, probability)
_ARMS = {
    "hanging": (Limb((4, 28), (-30, 70), (0, 45), (0.0, 0.0, 1.0)), 0.42),
    "sideways": (Limb((45, 105), (-15, 35), (0, 60), (0.0, 0.7, 0.7)), 0.16),
    "forward": (Limb((40, 95), (45, 95), (0, 70), (0.0, 1.0, 0.3)), 0.06),
    "waving": (Limb((70, 125), (-10, 40), (45, 115), (0.0, 1.0, 0.3)), 0.13),
    "up": (Limb((130, 172), (-20, 50), (0, 45), (-0.4, 0.3, 0.5)), 0.11),
    "on hip": (Limb((35, 52), (-25, 10), (75, 105), (-1.0, 0.0, 0.3)), 0.12),
}
_STRAIGHT = _leg((1, 10), (-20, 40), (0, 12))
_APART = _leg((12, 32), (-15, 25), (0, 30))
_STEP_FORWARD = _leg((12, 38), (70, 100), (2, 35))
_STEP_BACK = _leg((8, 28), (-110, -70), (5, 45))
_SEATED = _leg((62, 85), (40, 90), (65, 95))
_LIFTED = _leg((45, 90), (20, 90), (45, 110))
_STANCES = {
    "standing": (Stance((_STRAIGHT, _STRAIGHT), (-6, 10)), 0.36),
    "apart": (Stance((_APART, _APART), (-6, 12)), 0.26),
    "walking": (Stance((_STEP_FORWARD, _STEP_BACK), (0, 15)), 0.22),
    "seated": (Stance((_SEATED, _SEATED), (-8, 12)), 0.05),
    "one leg up": (Stance((_LIFTED, _STRAIGHT), (-10, 15)), 0.06),
    "bending": (Stance((_APART, _STRAIGHT), (20, 50)), 0.05),
}


def _pick(rng: np.random.Generator, table: dict[str, tuple[_T, float]]) -> _T:
    values, weights = zip(*table.values(), strict=True)
    return values[rng.choice(len(values), p=weights)]


@dataclasses.dataclass(frozen=True)
class Build:
    """Lengths of a body as shares of its standing height."""

    head: float  #: radius of the head
    neck: float  #: length of the neck
    torso: float  #: from between the hips to the neck
    shoulders: float  #: distance of the shoulder joints
    hips: float  #: distance of the hip joints
    upper_arm: float  #: shoulder to elbow
    forearm: float  #: elbow to wrist
    thigh: float  #: hip to knee
    shin: float  #: knee to ankle
    girth: float  #: factor on all thicknesses


@dataclasses.dataclass(frozen=True)
class View:
    """Angles that a person is seen under, in degrees."""

    yaw: float  #: turn of the body, 0 facing the viewer, 180 showing the back
    elevation: float  #: of the viewer above the horizon
    roll: float  #: rotation in the image plane


@dataclasses.dataclass(frozen=True)
class Figure:
    """A posed person as the viewer sees it, relative to the middle of the hips."""

    build: Build  #: its proportions
    view: View  #: its angles to the viewer
    #: (x right, y down, depth towards the viewer) in standing heights, by name: COCO's
    #: keypoints, `neck`, `head`, `{left,right}_{hand,toe}`.
    points: dict[str, Float[np.ndarray, "3"]]
    #: Columns are the head's left, up and forward in the same axes.
    head_axes: Float[np.ndarray, "3 3"]

    @property
    def faces_away(self) -> bool:
        """The face is turned so far that nobody would label it."""
        return bool(self.head_axes[2, 2] < -0.25)

    @property
    def keypoints(self) -> Float[np.ndarray, "17 2"]:
        """The COCO keypoints, in standing heights."""
        return np.stack([self.points[name][:2] for name in COCO.keypoints])


def random_figure(rng: np.random.Generator) -> Figure:
    """A random person in a random pose, about one in five seen from behind."""
    return pose_figure(rng, build=_random_build(rng), view=_random_view(rng))


def pose_figure(rng: np.random.Generator, *, build: Build, view: View) -> Figure:
    """Bend a body's joints at random, within limits, and view it."""
    stance = _pick(rng, _STANCES)
    spine = _rotation("x", rng.uniform(*stance.pitch)) @ _rotation(
        "z", rng.uniform(-12, 12)
    )
    chest = spine @ _rotation("y", rng.uniform(-15, 15))
    neck = spine @ [0.0, build.torso, 0.0]
    nod, turn = rng.uniform(-10, 14), rng.uniform(-28, 28)
    head_axes = chest @ _rotation("y", turn) @ _rotation("x", nod)
    head = neck + head_axes @ [0.0, build.neck + 0.9 * build.head, 0.1 * build.head]
    points = {"neck": neck, "head": head, **_face(build, head, head_axes)}
    legs = stance.legs if rng.random() < 0.5 else stance.legs[::-1]
    for (side, sign), leg in zip(SIDES.items(), legs, strict=True):
        shoulder = neck + chest @ [sign * build.shoulders / 2, -0.02, 0.0]
        upper, lower = _bones(rng, _pick(rng, _ARMS), sign)
        elbow = shoulder + build.upper_arm * (chest @ upper)
        wrist = elbow + build.forearm * (chest @ lower)
        hand = wrist + 0.05 * (chest @ lower)
        hip = np.array([sign * build.hips / 2, 0.0, 0.0])
        upper, lower = _bones(rng, leg, sign)
        knee = hip + build.thigh * upper
        ankle = knee + build.shin * lower
        toe = ankle + np.array([sign * rng.uniform(0.0, 0.05), -0.025, 0.085])
        named = {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "hand": hand}
        named |= {"hip": hip, "knee": knee, "ankle": ankle, "toe": toe}
        points |= {f"{side}_{name}": point for name, point in named.items()}
    # Body frame -> (x right, y down, depth towards the viewer).
    tilt = _rotation("x", view.elevation) @ _rotation("y", view.yaw)
    camera = np.diag([1.0, -1.0, 1.0]) @ _rotation("z", view.roll) @ tilt
    seen = {name: camera @ point for name, point in points.items()}
    return Figure(build, view, seen, camera @ head_axes)


def _random_build(rng: np.random.Generator) -> Build:
    childlike = rng.uniform(0.6, 1.0) if rng.random() < 0.25 else rng.uniform(0.0, 0.4)
    head = 0.082 + 0.038 * childlike
    neck = rng.uniform(0.02, 0.035)
    torso, thigh, shin = np.array([0.37, 0.30, 0.28]) * rng.uniform(0.92, 1.08, 3)
    body = (1.0 - 2 * head - neck) / (torso + thigh + shin + 0.04)
    return Build(
        head=head,
        neck=neck,
        torso=torso * body,
        shoulders=rng.uniform(0.21, 0.27),
        hips=rng.uniform(0.12, 0.15),
        upper_arm=rng.uniform(0.165, 0.19) * (1.0 - 0.15 * childlike),
        forearm=rng.uniform(0.145, 0.17) * (1.0 - 0.15 * childlike),
        thigh=thigh * body,
        shin=shin * body,
        girth=rng.uniform(0.9, 1.35),
    )


def _random_view(rng: np.random.Generator, *, share_away: float = 0.2) -> View:
    yaw = float(np.clip(rng.normal(0.0, 22.0), -60.0, 60.0))
    if rng.random() < share_away:
        yaw += 180.0
    roll = float(np.clip(rng.normal(0.0, 6.0), -20.0, 20.0))
    return View(yaw=yaw, elevation=rng.uniform(3.0, 20.0), roll=roll)


def _face(
    build: Build,
    head: Float[np.ndarray, "3"],
    head_axes: Float[np.ndarray, "3 3"],
) -> dict[str, Float[np.ndarray, "3"]]:
    places = {"nose": (0.0, -0.12, 1.0)}
    for side, sign in SIDES.items():
        places[f"{side}_eye"] = (sign * 0.37, 0.16, 0.79)
        places[f"{side}_ear"] = (sign * 0.86, 0.0, 0.0)
    return {k: head + build.head * (head_axes @ place) for k, place in places.items()}


def _bones(
    rng: np.random.Generator, limb: Limb, sign: float
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Unit directions of a limb's upper and lower bone."""
    raising, azimuth, bend = np.deg2rad(
        [rng.uniform(*span) for span in (limb.raising, limb.azimuth, limb.bend)]
    )
    across = np.sin(raising)
    upper = np.array(
        [sign * across * np.cos(azimuth), -np.cos(raising), across * np.sin(azimuth)]
    )
    toward = np.array([sign, 1.0, 1.0]) * limb.toward
    normal = toward - (toward @ upper) * upper
    normal /= np.linalg.norm(normal)
    return upper, np.cos(bend) * upper + np.sin(bend) * normal


def _rotation(axis: str, degrees: float) -> Float[np.ndarray, "3 3"]:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = cos
    matrix[first, second], matrix[second, first] = -sin, sin
    return matrix
