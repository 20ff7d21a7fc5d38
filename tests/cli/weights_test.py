"""`logocap weights`, and weights by name on the way to poses."""

import hashlib
import pathlib
import re

import pytest

from logocap_jax import Predictor, cli
from logocap_jax.public_weights import PublicWeights
from logocap_jax.weights import download, named
from logocap_jax.weights.named import all_named
from logocap_jax.weights.settings import load_settings


@pytest.fixture
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv(download.CACHE, str(folder))
    return folder


@pytest.fixture
def tiny(monkeypatch, shared_dir, cache):
    """A name whose file, in mmpose's form, is in the cache already."""
    content = (shared_dir / "siblings/mmpose/dekr_tiny_mmpose_1x.pth").read_bytes()
    (cache / "net.pth").write_bytes(content)
    row = PublicWeights(
        *("tiny", "COCO", 128, "net.pth"),
        base="https://example.org/",
        sha256=hashlib.sha256(content).hexdigest()[:8],
        settings={"decoder": "mmpose"},
    )
    monkeypatch.setitem(named._BACKBONES, "dekr_tiny", row)
    return row


def run(*arguments):
    return cli.main(["weights", *map(str, arguments)])


def test_the_table_is_listed_with_what_is_here(tiny, capsys):
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "name",
        "input",
        "px",
        "AP",
        "decoder",
        "licence",
        "here",
    ]
    rows = {line.split()[0]: line.split() for line in lines[1 : len(all_named()) + 1]}
    assert rows.keys() == all_named().keys()
    assert rows["dekr_tiny"][-1] == "yes"
    assert rows["dekr_w32_coco"][1:4] == ["512", "68.6", "mmpose"]
    assert rows["dekr_w32_coco"][-1] == "no"


def test_the_digits_of_the_table_are_those_of_the_file_names():
    for name, row in all_named().items():
        assert bool(row.base) == bool(re.fullmatch("[0-9a-f]{8}", row.sha256)), name
        assert row.sha256 in row.file


def test_the_table_is_that_of_the_publishers(shared_dir):
    """Paths and AP, as `weights.md` has them."""
    text = (shared_dir / "weights.md").read_text(encoding="utf-8")
    downloaded = {name: row for name, row in all_named().items() if row.base}
    for name, row in downloaded.items():
        cells = re.search(rf"[`/]{re.escape(row.file)}`(.*)", text)
        assert cells, name
        if row.ap:
            assert re.search(r"[\d.]+", cells[1])[0] == row.ap, name
            folder = row.path.removesuffix(row.file).removesuffix("coco/")
            assert f"`{folder.removesuffix('crowdpose/')}`" in text, name


def test_files_have_places_and_sums(tiny, cache, capsys, tmp_path):
    assert run("where", "dekr_tiny", "dekr_w32_coco") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == str(cache / "net.pth")
    assert second == f"{cache / all_named()['dekr_w32_coco'].file} (not there yet)"
    assert run("get", "dekr_tiny") == run("verify", "dekr_tiny") == 0
    assert f"net.pth: right, SHA-256 {tiny.sha256}" in capsys.readouterr().out
    (cache / "net.pth").write_bytes(b"other")
    assert run("verify", "dekr_tiny") == 1
    assert "net.pth: WRONG, SHA-256" in capsys.readouterr().out
    sum_ = hashlib.sha256(b"other").hexdigest()
    for file, verdict, code in (
        (f"net-{sum_[:8]}_20220928.pth", "right", 0),
        (f"net_{sum_[:8]}-20220928.pth", "right", 0),
        ("net-01234567.pth", "WRONG", 1),
        ("net.pth", "nothing to hold it against", 0),
    ):
        (tmp_path / file).write_bytes(b"other")
        assert run("verify", tmp_path / file) == code
        assert verdict in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get"], "weights get: got 0 names, expected 1 or more"),
        (["list", "a"], "weights list: got 1 names, expected 0"),
        (["pack", "a"], "weights pack: got 1 names, expected 2"),
        (["get", "dekr_w32"], "dekr_w32: no such weights, expected .*dekr_w32_coco"),
        (["where", "dekr_w32"], "got 'dekr_w32', expected .*dekr_w32_coco"),
        (["verify", "none.pth"], "none.pth: no such file"),
        (["get", "dekr_w32_coco_official"], "bring pose_dekr_hrnetw32_coco.pth from"),
        (["pack", ".", "x.safetensors"], ".: got no run, expected the workdir of one"),
    ],
)
def test_mistakes_are_one_line(cache, capsys, arguments, message):
    assert run(*arguments) == 2
    assert re.match(f"error: .*{message}.*\n$", capsys.readouterr().err)


def test_a_name_brings_its_settings_and_its_size(tiny):
    settings, _ = load_settings(pathlib.Path("dekr_tiny"), {})
    assert (settings["name"], settings["decoder"]) == ("dekr", "mmpose")
    assert settings["scorer"]
    settings, _ = load_settings(pathlib.Path("dekr_tiny"), {"decoder": "official"})
    assert settings["decoder"] == "official"
    predictor = Predictor.from_weights("dekr_tiny")
    assert predictor.input_size((200, 100)) == (256, 128)
    larger = Predictor.from_weights("dekr_tiny", short_side=192)
    assert larger.input_size((200, 100)) == (384, 192)
