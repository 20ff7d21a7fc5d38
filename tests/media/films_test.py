import cv2
import numpy as np
import pytest

from logocap_jax.media.films import Film, FilmWriter
from logocap_jax.media.pictures import Pictures


def frames(count, height=48, width=64):
    """Grey frames that get brighter."""
    return [
        np.full((height, width, 3), 20 * number + 10, np.uint8)
        for number in range(count)
    ]


def write(path, count=10, rate=12.0):
    writer = FilmWriter(path, frames_per_second=rate)
    for frame in frames(count):
        writer.add(frame)
    writer.close()
    return path


def test_a_film_is_read_as_it_was_written(tmp_path):
    film = Film(write(tmp_path / "a.mp4"))
    assert film.frames_per_second == 12
    assert film.num_frames == 10
    found = list(film)
    assert len(found) == 10
    for one, other in zip(found, frames(10), strict=True):
        assert one.shape == other.shape
        assert abs(float(one.mean()) - float(other.mean())) < 4


def test_a_film_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "a.mp4"
    writer = FilmWriter(path, frames_per_second=10.0)
    for frame in frames(3):
        writer.add(frame)
    assert not path.exists()
    writer.close()
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_a_film_without_frames_writes_nothing(tmp_path):
    FilmWriter(tmp_path / "a.mp4", frames_per_second=10.0).close()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def film_as_camera(tmp_path, monkeypatch):
    """There is no camera here: OpenCV gets a film when it is asked for number 3."""
    path, opened = str(write(tmp_path / "camera.mp4")), cv2.VideoCapture
    monkeypatch.setattr(
        cv2, "VideoCapture", lambda source: opened(path if source == 3 else source)
    )


def test_what_a_camera_sees_comes_until_it_gives_no_more(film_as_camera):
    found, pictures = [], Pictures([3], check=lambda size: None)
    for picture in pictures:
        found.append((str(picture.path), picture.frame))
        assert picture.pixels.shape == (48, 64, 3)
    assert found == [("camera3", number) for number in range(1, 11)]
    assert pictures.faults == [
        "camera 3: got 10 frames and then none, expected more until Ctrl-C; those are "
        "kept"
    ]


def test_a_camera_can_be_left_at_any_frame(film_as_camera):
    frames_seen = iter(Film(3))
    next(frames_seen)
    frames_seen.close()  # as Ctrl-C does


@pytest.mark.parametrize("content", [b"", b"no film", None])
def test_what_is_no_film_is_refused(tmp_path, content):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mp4: got nothing"):
        Film(path)


def test_a_film_that_breaks_off_gives_its_frames_and_then_says_so(tmp_path):
    # Of an AVI cut short the index is lost, and the header keeps its promise.
    path = tmp_path / "a.avi"
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), codec, 10, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(40):
        writer.write(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    writer.release()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found = []
    film = Film(path)
    with pytest.raises(ValueError, match=r"a\.avi: got \d+ frames, expected 40: it br"):
        found.extend(film)
    assert 0 < len(found) < 40
