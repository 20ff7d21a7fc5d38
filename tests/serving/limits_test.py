import cv2
import numpy as np
import pytest

from logocap_jax.serving.limits import MAX_PIXELS, MAX_UPLOAD_BYTES, read_upload


def _png(path, height, width):
    cv2.imwrite(str(path), np.full((height, width, 3), (10, 20, 30), np.uint8))
    return path


def test_a_photograph_is_read_as_rgb(tmp_path):
    pixels = read_upload(_png(tmp_path / "a.png", 5, 7))
    assert pixels.shape == (5, 7, 3)
    assert pixels[0, 0].tolist() == [30, 20, 10]


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "a.jpg"
    with path.open("wb") as stream:
        stream.truncate(MAX_UPLOAD_BYTES + 1)
    with pytest.raises(ValueError, match="expected JPEG or PNG, up to 20 MiB and 24"):
        read_upload(path)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    path = _png(tmp_path / "a.png", 5, 7)
    data = bytearray(path.read_bytes())
    data[16:20] = data[20:24] = (5000).to_bytes(4, "big")
    assert MAX_PIXELS < 5000**2
    path.write_bytes(data)
    with pytest.raises(ValueError, match="got 5000x5000 pixels, expected JPEG or PNG"):
        read_upload(path)


def test_what_is_no_image_is_refused_without_naming_a_folder_of_the_server(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="expected JPEG or PNG") as caught:
        read_upload(path)
    assert str(tmp_path) not in str(caught.value)
