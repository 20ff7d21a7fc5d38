import cv2
import numpy as np
import pytest

from logocap_jax.visualization.charts import draw_error_chart


def _panel(values):
    return {
        "initial": dict(zip("abcd", values, strict=True)),
        "logocap": dict.fromkeys("abcd", 0.5),
    }


def _draw(path, *values):
    panels = {f"panel {index}": _panel(each) for index, each in enumerate(values)}
    draw_error_chart(panels, path)
    return cv2.imread(str(path))


def test_chart_is_drawn_in_two_colors(tmp_path):
    image = _draw(tmp_path / "a.png", (0.1, 0.2, 0.3, 0.4), (0.5, 0.5, 0.5, 0.5))
    assert image.shape == (960, 1440, 3)
    for color in ((0x3D, 0xA3, 0xE8), (0xB4, 0x6F, 0x1F)):  # BGR
        assert (image == np.array(color, np.uint8)).all(axis=-1).sum() > 1000


def test_unknown_values_have_no_bar(tmp_path):
    whole = _draw(tmp_path / "a.png", (0.5,) * 4, (0.5,) * 4)
    part = _draw(tmp_path / "b.png", (0.5, None, None, 0.5), (0.5,) * 4)
    orange = np.array((0x3D, 0xA3, 0xE8), np.uint8)
    count = [(image == orange).all(axis=-1).sum() for image in (whole, part)]
    assert count[1] < 0.9 * count[0]


def test_nothing_known_is_no_error(tmp_path):
    assert _draw(tmp_path / "a.png", (None,) * 4, (None,) * 4) is not None


def test_one_panel_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got 1 panel, expected two or more"):
        _draw(tmp_path / "a.png", (0.5,) * 4)
    assert not list(tmp_path.iterdir())
