import numpy as np
import pytest

from logocap_jax.predictor import Poses
from logocap_jax.predictor.smoothing import Smoother
from logocap_jax.skeletons import COCO
from tests.reference.moving_people import Walker, film

RATE, SIZE = 25, 192


def poses(keypoints):
    ones = np.ones(keypoints.shape[:2], np.float32)
    return Poses(keypoints, ones, ones[:, 0], None, COCO)


def one_euro(points, times, min_cutoff, slope, speed_cutoff):
    """The filter of one number, as published, in a loop."""

    def share(cutoff, step):
        return 1 / (1 + 1 / (2 * np.pi * cutoff * step))

    value, speed, found = points[0], 0.0, [points[0]]
    for before, now, point in zip(times, times[1:], points[1:], strict=False):
        step = now - before
        speed += share(speed_cutoff, step) * ((point - value) / step - speed)
        value += share(min_cutoff + slope * abs(speed), step) * (point - value)
        found.append(value)
    return found


def test_it_is_the_published_filter():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.2, 20))
    offsets = np.cumsum(rng.normal(0, 3, 20))
    base = np.zeros((1, 17, 2), np.float32)
    base[0, 1] = 100  # a person of 100 by 100 px
    smoother, found = Smoother(min_cutoff=1.0, slope=2.0, speed_cutoff=1.5), []
    for seconds, offset in zip(times, offsets, strict=True):
        moved = base + np.array([offset, 0], np.float32)
        frame = smoother.update(poses(moved), np.array([4]), float(seconds))
        found.append(frame.keypoints[0, 0, 0])
    expected = one_euro(list(offsets), list(times), 1.0, 2.0 / 100, 1.5)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_size_and_rate_do_not_matter():
    rng = np.random.default_rng(1)
    walk = rng.normal(0, 1, (9, 1, 17, 2)).cumsum(axis=0).astype(np.float32)
    small, large = Smoother(), Smoother()
    for number, points in enumerate(walk):
        points = points * 20
        one = small.update(poses(points), np.array([1]), number / 30)
        other = large.update(poses(points * 8), np.array([1]), number / 30)
        np.testing.assert_allclose(other.keypoints, 8 * one.keypoints, rtol=1e-3)


def test_a_new_id_a_pause_and_a_clock_that_stands_begin_anew():
    smoother = Smoother()
    first = np.zeros((1, 17, 2), np.float32)
    smoother.update(poses(first), np.array([1]), 0.0)
    for number, seconds in ((2, 0.1), (1, 1.5), (1, 1.5), (1, 0.2)):
        far = first + 50
        found = smoother.update(poses(far), np.array([number]), seconds)
        np.testing.assert_array_equal(found.keypoints, far)


def test_the_people_of_a_film_jitter_less_and_lag_little():
    """Drawn people in motion, found 1 px off: half the jitter, smaller errors."""
    rng = np.random.default_rng(0)
    walkers = [
        Walker(rng, 110, lambda f: (96 + 70 * np.cos(f / 48), 105)),
        Walker(rng, 90, lambda f: (60, 95)),
    ]
    smoother, true, raw, smooth = Smoother(), [], [], []
    for number, (_, people) in enumerate(film(walkers, frames=120, size=SIZE)):
        if len(people) < 2:
            continue
        points = np.stack([people[0], people[1]])
        noisy = points + rng.normal(0, 1, points.shape).astype(np.float32)
        found = smoother.update(poses(noisy), np.array([1, 2]), number / RATE)
        true.append(points)
        raw.append(noisy)
        smooth.append(found.keypoints)
    assert len(true) > 100

    def jitter(track):
        return np.abs(np.diff(np.array(track) - np.array(true), 2, axis=0)).mean()

    def error(track):
        return np.abs(np.array(track) - np.array(true)).mean()

    assert jitter(smooth) < 0.55 * jitter(raw)
    assert error(smooth) < error(raw)


@pytest.mark.parametrize("wrong", [{"min_cutoff": 0.0}, {"slope": -1.0}])
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="expected more than 0"):
        Smoother(**wrong)
