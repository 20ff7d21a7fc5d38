import numpy as np
import pytest

from logocap_jax.media.films import Film, FilmWriter, copy_sound
from logocap_jax.media.output import Gallery
from logocap_jax.media.pictures import Pictures

RATE, SECONDS, SAMPLES = 10, 3, 44_100


def frames():
    return [np.full((48, 64, 3), 8 * number, np.uint8) for number in range(30)]


def write_with_tone(path, codec, *, frequency=440.0):
    """A film of grey frames with a tone."""
    av = pytest.importorskip("av", reason="the [video] extra (PyAV) is not installed")
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=RATE)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream(codec, rate=SAMPLES)
        times = np.arange(SECONDS * SAMPLES) / SAMPLES
        tone = (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)
        for number, pixels in enumerate(frames()):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        samples.sample_rate = SAMPLES
        resampler = av.AudioResampler(
            format=audio.format,
            layout="mono",
            rate=SAMPLES,
            frame_size=audio.frame_size or None,
        )
        for part in [*resampler.resample(samples), *resampler.resample(None)]:
            container.mux(audio.encode(part))
        container.mux(audio.encode(None))
    return path


def tone_of(path):
    """Strongest frequency of a film's sound, Hz, and its seconds."""
    av = pytest.importorskip("av", reason="the [video] extra (PyAV) is not installed")
    with av.open(path) as container:
        parts = [
            f.to_ndarray()[0] for f in container.decode(container.streams.audio[0])
        ]
    samples = np.concatenate(parts).astype(float)
    spectrum = np.abs(np.fft.rfft(samples))
    return np.argmax(spectrum) * SAMPLES / len(samples), len(samples) / SAMPLES


def draw(source, folder, count=None):
    """What `logocap predict --out` does, without people."""
    gallery = Gallery(folder)
    for picture in Pictures([source], check=lambda size: None):
        gallery.add(picture, "", picture.pixels)
        if picture.frame == count:
            break
    gallery.finish_film()
    return gallery.notes


def test_a_drawn_film_keeps_its_sound(tmp_path):
    source = write_with_tone(tmp_path / "tone.mp4", "aac")
    assert not draw(source, tmp_path / "out")
    drawn = tmp_path / "out" / "tone.mp4"
    frequency, seconds = tone_of(drawn)
    assert frequency == pytest.approx(440, abs=2)
    assert seconds == pytest.approx(SECONDS, abs=0.1)
    assert len(list(Film(drawn))) == 30
    assert [path.name for path in drawn.parent.iterdir()] == ["tone.mp4"]


def test_the_sound_ends_with_the_frames(tmp_path):
    source = write_with_tone(tmp_path / "tone.mp4", "aac")
    assert not draw(source, tmp_path / "out", count=10)
    frequency, seconds = tone_of(tmp_path / "out" / "tone.mp4")
    assert frequency == pytest.approx(440, abs=2)
    assert seconds == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("name", "codec"), [("tone.mkv", "pcm_s16le"), ("tone.avi", "adpcm_ms")]
)
def test_sound_that_no_mp4_holds_is_told_and_the_film_stays(tmp_path, name, codec):
    source = write_with_tone(tmp_path / name, codec)
    drawn = tmp_path / "out" / "tone.mp4"
    (note,) = draw(source, drawn.parent)
    assert note == f"{drawn}: without sound; that of {source} does not fit into an MP4"
    assert len(list(Film(drawn))) == 30
    assert [path.name for path in drawn.parent.iterdir()] == ["tone.mp4"]


def test_a_silent_film_needs_no_sound(tmp_path):
    pytest.importorskip("av", reason="the [video] extra (PyAV) is not installed")
    writer = FilmWriter(tmp_path / "silent.mp4", frames_per_second=float(RATE))
    for frame in frames():
        writer.add(frame)
    writer.close()
    assert not draw(tmp_path / "silent.mp4", tmp_path / "out")


def test_without_the_library_it_is_said_once(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    gallery = Gallery(tmp_path / "out")
    for name in ("a.mp4", "b.mp4"):
        writer = FilmWriter(tmp_path / name, frames_per_second=float(RATE))
        for frame in frames()[:2]:
            writer.add(frame)
        writer.close()
        for picture in Pictures([tmp_path / name], check=lambda size: None):
            gallery.add(picture, "", picture.pixels)
    gallery.finish_film()
    (note,) = gallery.notes
    assert note == copy_sound(tmp_path / "a.mp4", tmp_path / "out" / "a.mp4")
    assert "[video]" in note
