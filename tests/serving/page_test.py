"""The page in a real headless Chromium."""

import contextlib
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from data_pipeline.read.images import decode_photograph

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
NAME = "000000397133"
# The first photograph waits for the compilation; ms.
_PATIENCE = 300_000

pytestmark = [pytest.mark.parity, pytest.mark.slow]


@pytest.fixture(scope="module")
def case(parity_dir):
    with np.load(parity_dir / "tiny" / f"infer_{NAME}.npz") as arrays:
        names = ("image", "final_keypoints", "final_scores")
        return {name: arrays[name] for name in names}


@pytest.fixture(scope="module")
def photo(case, tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / f"{NAME}.png"
    cv2.imwrite(str(path), case["image"][..., ::-1])
    return path


@contextlib.contextmanager
def served(weights: pathlib.Path, temporary: pathlib.Path) -> Iterator[str]:
    """The address of what `logocap serve` serves, in a process of its own."""
    pytest.importorskip("gradio", reason="the [demo] extra (gradio) is not installed")
    folders = {"TMPDIR": str(temporary), "XDG_CACHE_HOME": str(temporary / "cache")}
    arguments = ["--short-side=256", "--score-threshold=-1", "--port=0"]
    code = "import sys; from logocap_jax.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--weights", weights, *arguments],
        env=os.environ | folders,
        cwd=pathlib.Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith("http://127.0.0.1:")
        yield line.split()[0]
        server.terminate()
        server.communicate(timeout=300)
        assert server.returncode == 0
    # Uploads are gone, with all else but compiled programs.
    assert {path.name for path in temporary.iterdir()} <= {"cache"}


@pytest.fixture(scope="module")
def address(parity_dir, tmp_path_factory) -> Iterator[str]:
    weights = parity_dir / "tiny" / "weights.npz"
    with served(weights, tmp_path_factory.mktemp("temporary")) as address:
        yield address


@pytest.fixture
def tab(address):
    with opened(address) as page:
        yield page


@contextlib.contextmanager
def opened(address):
    """The page in a browser, and all addresses that it asked."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed"
    )
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with contextlib.ExitStack() as stack:
        driver = stack.enter_context(playwright.sync_playwright())
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        stack.callback(browser.close)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        yield page, asked
        hosts = {urllib.parse.urlsplit(url).hostname for url in asked}
        assert hosts - {None} == {"127.0.0.1"}
        assert not errors


def shown(page, name):
    """The picture in an image component, RGB, once there is one."""
    image = page.locator(f"#{name} img").first
    image.wait_for(timeout=_PATIENCE)
    response = page.request.get(image.get_attribute("src"))
    encoded = np.frombuffer(response.body(), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]


def upload(page, path):
    page.locator("#photo input[type=file]").set_input_files(path)


def test_a_photograph_gets_skeletons_maps_times_and_a_file(tab, photo, case):
    page, _ = tab
    upload(page, photo)
    overlay = shown(page, "overlay").astype(int)
    pixels = decode_photograph(photo).astype(int)
    assert overlay.shape == pixels.shape
    assert (np.abs(overlay - pixels).max(axis=2) > 60).mean() > 0.005

    summary = page.locator("#summary").inner_text()
    assert re.search(r"\d+ (person|people) in 640 x \d+ px", summary)
    assert re.search(r"decode [\d.]+ s, model.* [\d.]+ s, draw [\d.]+ s", summary)

    with page.expect_download() as download:
        page.locator("#download").click()
    results = json.loads(download.value.path().read_text())
    scores = case["final_scores"]
    assert download.value.suggested_filename == f"{NAME}.json"
    assert len(results) == len(scores)
    assert {result["image_id"] for result in results} == {int(NAME)}
    assert results[0]["score"] == pytest.approx(float(scores[0]), rel=1e-3)

    box = page.locator("#overlay img").first.bounding_box()
    best = int(np.argmax(scores))
    x, y = case["final_keypoints"][best, 5, :2]  # the left shoulder
    scale = box["width"] / pixels.shape[1]
    page.mouse.click(float(box["x"] + scale * x), float(box["y"] + scale * y))
    maps = shown(page, "patches-kam")
    assert maps.max() > 200
    assert "Person with score" in page.locator("#whose").inner_text()

    page.get_by_label("heatmaps", exact=True).click()
    page.wait_for_function(
        "() => document.querySelector('#overlay img').naturalHeight > "
        f"{pixels.shape[0]}"
    )


def test_what_is_no_photograph_is_told_in_one_line(tab, tmp_path):
    page, _ = tab
    path = tmp_path / "photo.png"
    path.write_bytes(b"no image")
    upload(page, path)
    page.get_by_text("Not read:").wait_for(timeout=_PATIENCE)
    text = page.locator("#summary").inner_text()
    assert "expected JPEG or PNG" in text
    assert str(tmp_path) not in text
    assert page.locator("#overlay img").count() == 0


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_nothing_sticks_out_of_the_window(tab, photo, width):
    page, _ = tab
    page.set_viewport_size({"width": width, "height": 800})
    upload(page, photo)
    shown(page, "overlay")
    inside = functools.partial(page.evaluate, "document.documentElement.scrollWidth")
    assert inside() <= width


def test_weights_without_attraction_maps_show_skeletons_and_say_so(
    center_offset_weights, photo, tmp_path
):
    with (
        served(center_offset_weights, tmp_path) as address,
        opened(address) as tab,
    ):
        page, _ = tab
        page.get_by_text("keep no small maps").wait_for()
        upload(page, photo)
        overlay = shown(page, "overlay").astype(int)
        pixels = decode_photograph(photo).astype(int)
        assert (np.abs(overlay - pixels).max(axis=2) > 60).mean() > 0.005
        page.locator("#overlay img").first.click()
        page.get_by_label("heatmaps", exact=True).click()
        page.wait_for_function(
            "() => document.querySelector('#overlay img').naturalHeight > "
            f"{pixels.shape[0]}"
        )
        assert page.get_by_label("refined", exact=True).count() == 0
        assert page.locator("#patches-kam").count() == 0
