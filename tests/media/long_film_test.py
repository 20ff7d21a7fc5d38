"""300 frames of drawn people, from the film's file to the files about it."""

import collections
import itertools
import json
import weakref

import numpy as np
import pytest

from logocap_jax import structures
from logocap_jax.media.films import Film, FilmWriter
from logocap_jax.media.output import Output, find_people
from logocap_jax.media.pictures import Pictures
from logocap_jax.predictor import Predictor
from logocap_jax.predictor.compiled import Model
from logocap_jax.predictor.inputs import by_short_side
from logocap_jax.skeletons import COCO
from tests.reference.moving_people import Walker, film

SIZE, FRAMES, SLOTS = 192, 300, 8


def walkers():
    """Two who cross each other, one who leaves and comes back, one in their way."""
    rng = np.random.default_rng(5)
    there_and_back = lambda frame: SIZE / 2 + 70 * np.cos(frame / 48)  # noqa: E731
    return [
        Walker(rng, 110, lambda f: (there_and_back(f), 105)),
        Walker(rng, 95, lambda f: (SIZE - there_and_back(f), 100)),
        Walker(rng, 80, lambda f: (150 + 50 * np.sin(f / 24), 88)),
        Walker(rng, 90, lambda f: (60, 95)),
    ]


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """The film's file, and who is where in each frame."""
    path = tmp_path_factory.mktemp("film") / "walkers.mp4"
    writer = FilmWriter(path, frames_per_second=25.0)
    seen = []
    for frame, people in film(walkers(), frames=FRAMES, size=SIZE):
        writer.add(frame)
        seen.append(people)
    writer.close()
    return path, seen


def predictor_of(seen):
    """Finds those who are there, half a pixel off, in any order."""
    rng, frames = np.random.default_rng(0), iter(seen)

    def predict(view):
        people = list(next(frames).values())
        rng.shuffle(people)
        found = np.zeros((1, SLOTS, 17, 2), np.float32)
        for slot, keypoints in enumerate(people):
            found[0, slot] = keypoints + rng.normal(0, 0.5, (17, 2))
        ones = np.ones((1, SLOTS, 17), np.float32)
        valid = np.arange(SLOTS)[None] < len(people)
        return structures.Poses(found, ones, ones[..., 0], valid, found)

    return Predictor(Model(predict, COCO), by_short_side(SIZE), batch_size=1)


def ids_of(results, seen):
    """The ids that each walker got, frame by frame."""
    ids = collections.defaultdict(list)
    for frame, people in enumerate(seen, start=1):
        found = [result for result in results if result["frame"] == frame]
        points = [np.reshape(r["keypoints"], (17, 3))[:, :2] for r in found]
        assert len(found) == len(people)
        for number, keypoints in people.items():
            errors = [np.abs(each - keypoints).mean() for each in points]
            ids[number].append(found[int(np.argmin(errors))]["track_id"])
    return ids


def test_ids_stay_and_frames_go(truth, tmp_path):
    path, seen = truth
    alive, most = set(), 0

    def counted(pictures):
        nonlocal most
        for number, picture in enumerate(pictures):
            alive.add(number)
            most = max(most, len(alive))
            weakref.finalize(picture.pixels, alive.discard, number)
            yield picture

    found_file, model = tmp_path / "found.json", predictor_of(seen)
    pictures = Pictures([path], check=model.input_size)
    output = Output([path], folder=tmp_path / "out", json_file=found_file, track=True)
    with output:
        for result in find_people(model, counted(pictures)):
            output.add(result)
    assert not pictures.faults
    assert output.num_images == FRAMES
    assert most <= 8  # four in flight, and the four before
    assert Film(tmp_path / "out" / "walkers.mp4").num_frames == FRAMES

    ids = ids_of(json.loads(found_file.read_text()), seen)
    assert sorted(ids) == [0, 1, 2, 3]
    assert 150 < len(ids[2]) < FRAMES - 20  # it was away for a while
    kept = {number: max(collections.Counter(i).values()) for number, i in ids.items()}
    for number, count in kept.items():
        assert count >= 0.95 * len(ids[number]), (number, ids[number])
    owners = [collections.Counter(i).most_common(1)[0][0] for i in ids.values()]
    assert len(set(owners)) == len(owners)


def test_frames_before_a_break_are_kept(truth, tmp_path):
    _, seen = truth
    path, out = tmp_path / "cut.mkv", tmp_path / "out"
    frames = itertools.islice(film(walkers(), frames=FRAMES, size=SIZE), 40)
    write_cut_film(path, [frame for frame, _ in frames])
    model = predictor_of(seen)
    pictures = Pictures([path], check=model.input_size)
    with Output([path], folder=out) as output:
        for result in find_people(model, pictures):
            output.add(result)
    (fault,) = pictures.faults
    assert fault.startswith(f"{path}: got {output.num_images} frames, expected 40")
    assert 0 < output.num_images < 40
    assert Film(out / "cut.mp4").num_frames == output.num_images


def write_cut_film(path, frames):
    """An MJPG film of which the second half of the file is missing."""
    import cv2

    whole = path.with_suffix(".avi")
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(whole), codec, 25, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 2])
