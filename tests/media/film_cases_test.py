"""Films of many kinds: each frame keeps its time; whole ones are not called broken."""

import csv
import json

import cv2
import numpy as np
import pytest

from logocap_jax.media.films import Film, FilmWriter
from logocap_jax.media.output import FrameResult, Gallery, Output
from logocap_jax.media.pictures import Picture, Pictures
from logocap_jax.predictor import Poses
from logocap_jax.skeletons import COCO

CASES = ("slowmo_uneven.mp4", "sound_longer.mkv", "vfr_late.mp4")


def somebody():
    points = np.full((1, 17, 2), 5, np.float32)
    return Poses(points, points[..., 0], points[:, 0, 0], points, COCO)


def times_of(path):
    film = Film(path)
    return [film.seconds for _ in film]


def copy(source, folder):
    """Draws a film without people; returns the times of its frames."""
    gallery, times = Gallery(folder), []
    pictures = Pictures([source], check=lambda size: None)
    for picture in pictures:
        gallery.add(picture, "", picture.pixels)
        times.append(picture.seconds)
    gallery.finish_film()
    assert not [*pictures.faults, *gallery.faults, *gallery.notes]
    return times


@pytest.mark.parametrize("name", CASES)
def test_a_film_is_whole_and_keeps_its_times(shared_dir, tmp_path, name):
    pytest.importorskip("av", reason="the [video] extra (PyAV) is not installed")
    source = shared_dir / "cases" / "09-film" / name
    times = copy(source, tmp_path)
    drawn = (tmp_path / name).with_suffix(".mp4")
    np.testing.assert_allclose(times_of(drawn), times, atol=1e-4)
    assert (np.diff(times) > 0).all()
    if name == "vfr_late.mp4":
        assert times[-3:] == pytest.approx([0.567, 1.2, 2.0], abs=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_without_the_extra_films_of_any_rate_are_written(
    shared_dir, tmp_path, name, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    gallery = Gallery(tmp_path)
    source = shared_dir / "cases" / "09-film" / name
    for picture in Pictures([source], check=lambda size: None):
        gallery.add(picture, "", picture.pixels)
    gallery.finish_film()
    assert not gallery.faults
    assert len(times_of((tmp_path / name).with_suffix(".mp4"))) >= 20


@pytest.mark.parametrize("rate", [1.0, 7.77, 23.976, 59.94, 213.3333, 640 / 3, 999.9])
@pytest.mark.parametrize("size", [(48, 64), (33, 47)])
def test_any_rate_and_size(tmp_path, rate, size):
    writer = FilmWriter(tmp_path / "a.mp4", frames_per_second=rate)
    for shade in range(5):
        writer.add(np.full((*size, 3), 40 * shade, np.uint8))
    writer.close()
    film = Film(tmp_path / "a.mp4")
    frames = list(film)
    assert film.seconds == pytest.approx(4 / rate, abs=2e-3)
    assert [round(float(f.mean()) / 40) for f in frames] == list(range(5))


def write_mkv(path, count=60, seconds_of_sound=0.0):
    av = pytest.importorskip("av", reason="the [video] extra (PyAV) is not installed")
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(count):
            pixels = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".avi", ".webm", ".mov"])
@pytest.mark.parametrize("share", [1.0, 0.6])
def test_only_a_film_that_was_cut_breaks_off(tmp_path, suffix, share):
    if suffix == ".webm":
        path = write_mkv(tmp_path / "a.mkv").rename(tmp_path / "a.webm")
    else:
        path = write_mkv(tmp_path / f"a{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    pictures = Pictures([path], check=lambda size: None)
    count = len(list(pictures))
    if share == 1:
        assert (count, pictures.faults) == (60, [])
    else:
        (fault,) = pictures.faults
        assert count < 60
        assert "breaks off" in fault or "nothing that OpenCV can read" in fault


def result(path, position, size, frame=None):
    seconds = None if frame is None else frame / 10
    picture = Picture(path, np.zeros((*size, 3), np.uint8), frame, 10.0, seconds)
    return FrameResult(picture._replace(position=position), somebody())


def test_a_film_that_cannot_be_drawn_costs_nothing_else(tmp_path):
    film, image = tmp_path / "a.mp4", tmp_path / "b.png"
    out, found, table = tmp_path / "out", tmp_path / "f.json", tmp_path / "f.csv"
    with Output([film, image], folder=out, json_file=found, csv_file=table) as output:
        for frame, size in enumerate([(48, 64), (48, 64), (50, 64), (48, 64)], 1):
            output.add(result(film, 1, size, frame))
        output.add(result(image, 3, (48, 64)))
    (fault,) = output.faults
    assert fault.endswith("expected (64, 48) as before; it is not drawn")
    assert [path.name for path in out.iterdir()] == ["b.png"]
    people = json.loads(found.read_text())
    expected = [1_000_001, 1_000_002, 1_000_003, 1_000_004, 3]
    assert [person["image_id"] for person in people] == expected
    assert [p.get("time_s") for p in people] == [0.1, 0.2, 0.3, 0.4, None]
    with table.open() as stream:
        times = [row["time_s"] for row in csv.DictReader(stream)]
    assert times == ["0.1", "0.2", "0.3", "0.4", ""]


def test_a_file_that_cannot_be_read_shifts_no_ids(tmp_path):
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path in paths:
        cv2.imwrite(str(path), np.zeros((9, 9, 3), np.uint8))
    paths[1].write_bytes(b"no image")
    found = tmp_path / "f.json"
    pictures = Pictures(paths, check=lambda size: None)
    with Output(paths, json_file=found) as output:
        for picture in pictures:
            output.add(FrameResult(picture, somebody()))
    people = json.loads(found.read_text())
    assert [(p["image_id"], p["file_name"]) for p in people] == [
        (1, "a.png"),
        (3, "c.png"),
    ]
