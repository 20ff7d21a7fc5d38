"""`logocap predict` on a folder in which little is as it should be."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest

from logocap_jax import cli
from logocap_jax.methods import METHODS

pytestmark = pytest.mark.parity

# Few of everything, to compile it fast.
FAST = (
    *("--short-side=64", "--no-flip-test", "--score-threshold=-1"),
    *("--set=num_slots=8", "--set=mesh_size=3", "--set=window_radius=8"),
)


@pytest.fixture(scope="module")
def weights(parity_dir):
    return parity_dir / "tiny" / "weights.npz"


@pytest.fixture(scope="module")
def photograph(coco_mini_dir):
    return coco_mini_dir / "val2017" / "000000165518.jpg"


def predict(*arguments):
    return cli.main(["predict", *map(str, arguments)])


def huge(path):
    """A PNG of a few bytes that claims 30,000 x 30,000 pixels."""
    PIL.Image.new("L", (9, 8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (30_000).to_bytes(4) * 2
    path.write_bytes(data)


def webp(path):
    PIL.Image.new("RGB", (9, 8)).save(path)


def long(path):
    PIL.Image.new("RGB", (9000, 1)).save(path)


@pytest.mark.row("images")
def test_what_is_bad_is_named_and_counted_and_the_rest_goes_on(
    photograph, weights, tmp_path, capsys
):
    folder = tmp_path / "in"
    folder.mkdir()
    good = {"a.jpg", "grey.png", "dot.png"}
    shutil.copy(photograph, folder / "a.jpg")
    with PIL.Image.open(photograph) as image:
        image.convert("L").save(folder / "grey.png")
    PIL.Image.new("RGB", (1, 1)).save(folder / "dot.png")
    bad = {
        "cut.jpg": ("got a truncated", lambda path: path.write_bytes(cut)),
        "cut.mp4": ("expected a whole film", lambda path: path.write_text("ftyp")),
        "empty.jpg": ("starts b''", lambda path: path.write_bytes(b"")),
        "folder.jpg": ("got no regular file", lambda path: path.mkdir()),
        "huge.png": ("got 30000x30000 pixels, expected", huge),
        "long.png": ("got an image of 9000x1, whose input", long),
        "photo.webp": ("expected JPEG or PNG", webp),
        "text.jpg": ("expected JPEG or PNG", lambda path: path.write_text("no image")),
    }
    cut = photograph.read_bytes()[:5000]
    (folder / "notes.txt").write_text("no image, and not called one")
    for name, (_, make) in bad.items():
        make(folder / name)
    found, out = tmp_path / "found.json", tmp_path / "out"
    options = ["--weights", weights, "--json", found, "--out", out, *FAST]
    assert predict(folder, *options) == 1
    captured = capsys.readouterr()
    assert f"3 images, {len(json.loads(found.read_text()))} people, 8 left out" in (
        captured.out
    )
    lines = [line for line in captured.err.splitlines() if "left out: " in line]
    assert len(lines) == len(bad)
    for line, (name, (message, _)) in zip(lines, bad.items(), strict=True):
        assert line.startswith(f"left out: {folder / name}: ")
        assert message in line
    assert {path.stem for path in out.iterdir()} == {name[:-4] for name in good}


def test_an_output_folder_that_cannot_be_made_is_told_before_work_begins(
    photograph, weights, tmp_path, capsys
):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    assert predict(photograph, "--weights", weights, "--out", out, *FAST) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert str(out) in line


@pytest.mark.row("weights")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state | {"extra.weight": np.zeros(4)},
            "1 arrays unused (first: extra.weight)",
        ),
        (
            lambda state: {n: a for n, a in state.items() if n.startswith("backbone.")},
            f"no whole model, expected one of {', '.join(METHODS)} "
            "(logocap lacks params/dense/heatmap_head/",
        ),
        (
            lambda state: (
                state | {"backbone.layer1.0.conv1.weight": np.zeros((7, 7, 3, 3))}
            ),
            "arrays of the wrong shape (first: params/dense/backbone/layer1_block0/",
        ),
        (
            lambda state: {"resnet.conv1.weight": np.zeros((64, 3, 7, 7))},
            "such as 'resnet.conv1.weight', expected weights of one of logocap,",
        ),
    ],
    ids=["more", "ImageNet's", "other sizes", "another network"],
)
def test_weights_of_another_architecture_are_one_clear_line(
    photograph, weights, tmp_path, capsys, change, message
):
    path = tmp_path / "other.npz"
    with np.load(weights) as arrays:
        np.savez(path, **change(dict(arrays)))
    arguments = ["--weights", path, "--json", tmp_path / "a.json", *FAST]
    assert predict(photograph, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert message in line
