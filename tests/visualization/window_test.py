import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

_SHOW = """
import numpy as np, PIL.ImageGrab
from logocap_jax.visualization.window import Window

window = Window("logocap test")
for height, color in ((300, (250, 10, 10)), (200, (10, 250, 10)), (200, (10, 10, 250))):
    window.show(np.full((height, 300, 3), color, np.uint8))
screen = np.asarray(PIL.ImageGrab.grab(xdisplay="")).astype(int)
seen = np.abs(screen[..., :3] - color).max(axis=2) < 3
assert seen.mean() > 0.05, seen.mean()
assert not window.closed
window.close()
assert window.closed
window.show(np.zeros((5, 5, 3), np.uint8))  # nobody looks: nothing happens
"""


@pytest.fixture
def display() -> Iterator[str]:
    """A screen that only this test has."""
    pytest.importorskip("tkinter", reason="this Python has no tkinter")
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb on this machine")
    with subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", "1000x800x24"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield f":{server.stdout.readline().strip()}"
        server.terminate()


def _run(environment):
    return subprocess.run(
        [sys.executable, "-c", _SHOW], env=environment, capture_output=True, text=True
    )


def test_a_window_shows_the_latest_picture(display):
    environment = os.environ | {"DISPLAY": display}
    environment.pop("MPLBACKEND", None)
    done = _run(environment)
    assert done.returncode == 0, done.stderr


def test_without_a_screen_it_is_said_in_one_line():
    environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    environment.pop("MPLBACKEND", None)
    done = _run(environment)
    assert done.returncode == 1
    assert "ValueError: got no screen" in done.stderr.splitlines()[-1]
