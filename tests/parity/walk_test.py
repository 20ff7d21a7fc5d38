"""The check that needs no code of a method: its named stages, walked."""

import jax.numpy as jnp
import numpy as np
import pytest

from logocap_jax.methods.base import Stage
from logocap_jax.parity.walk import check_stages
from logocap_jax.structures import Poses

VARIABLES = {"params": {"scale": np.float32(2)}}


def _maps(variables, image):
    return (variables["params"]["scale"] * image.astype(jnp.float32),)


def _slots(_, maps):
    top = jnp.sort(maps.reshape(len(maps), -1), axis=1)[:, :3]
    return top, jnp.asarray([[True, True, False]])


def _squares(_, top):
    return (jnp.square(top),)


def _poses(_, squares, valid):
    points = jnp.broadcast_to(squares[..., None, None], (*squares.shape, 4, 2))
    return (Poses(points, points[..., 0], squares, valid),)


STAGES = (
    Stage("maps", ("image",), ("maps",), _maps),
    Stage("slots", ("maps",), ("top", "valid"), _slots),
    Stage("squares", ("top",), ("squares",), _squares, per_slot=2),
    Stage("poses", ("squares", "valid"), ("poses",), _poses),
)


@pytest.fixture
def arrays():
    image = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    top = np.float32([[0, 2, 4]])
    return {
        "image": image,
        "maps": 2 * image.astype(np.float32),
        "top": top,
        "squares": np.square(top),
        "poses/valid": np.array([[True, True, False]]),
        "poses/scores": np.square(top),
    }


def _check(tmp_path, arrays):
    path = tmp_path / "case.npz"
    np.savez(path, **arrays)
    return check_stages(path, "toy", STAGES, VARIABLES)


def test_each_stage_is_compared_end_to_end_and_from_the_references_arrays(
    tmp_path, arrays
):
    results = _check(tmp_path, arrays)
    assert all(result.passed for result in results)
    assert [(result.stage, result.fed_with) for result in results] == [
        ("maps: maps", "image"),
        ("slots: top", "image"),
        ("squares: squares", "image"),
        ("poses: poses/scores", "image"),
        ("poses: poses/valid", "image"),
        ("slots: top", "maps"),
        ("squares: squares", "top"),
        ("poses: poses/scores", "squares"),
        ("poses: poses/valid", "squares"),
    ]


def test_a_wrong_stage_does_not_hide_the_next(tmp_path, arrays):
    arrays |= {"top": arrays["top"] + 1, "squares": np.square(arrays["top"] + 1)}
    arrays["poses/scores"] = arrays["squares"]
    failed = {(r.stage, r.fed_with) for r in _check(tmp_path, arrays) if not r.passed}
    assert ("slots: top", "maps") in failed
    assert ("squares: squares", "image") in failed
    assert not {stage for stage, fed_with in failed if fed_with in ("top", "squares")}


def test_slots_without_a_pose_do_not_count(tmp_path, arrays):
    arrays["squares"][0, 2] = arrays["poses/scores"][0, 2] = 99
    assert all(result.passed for result in _check(tmp_path, arrays))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": None}, "'image': got float64 .0,., expected uint8"),
        (
            dict.fromkeys(["maps", "top", "squares", "poses/valid", "poses/scores"]),
            "got arrays image, expected some of maps, top, valid, squares, poses, "
            "those of method 'toy'",
        ),
    ],
)
def test_a_case_that_compares_nothing_is_refused(tmp_path, arrays, changes, message):
    arrays = {k: v for k, v in (arrays | changes).items() if v is not None}
    with pytest.raises(ValueError, match=message) as error:
        _check(tmp_path, arrays)
    assert str(error.value).startswith(f"{tmp_path / 'case.npz'}: ")


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "case.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"case\.npz: "):
        check_stages(tmp_path / "case.npz", "toy", STAGES, VARIABLES)
