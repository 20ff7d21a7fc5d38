import argparse
import json

import pytest

from logocap_jax.cli import benchmark

CONFIG = "tests/tiny_config.py"


def run(*arguments):
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    return benchmark.run(parser.parse_args(["input", "--config", CONFIG, *arguments]))


def test_times_bytes_and_memory_of_each_number_of_workers_are_kept(
    coco_mini_dir, tmp_path, capsys
):
    path = tmp_path / "input.json"
    code = run(
        *(f"--data-dir={coco_mini_dir}", "--workers=0,1", "--batches=2", "--rounds=2"),
        *("--set", "batch_size=4", "--set", "data.input_size=128", f"--json={path}"),
    )
    assert code == 0
    record = json.loads(path.read_text())
    rows = {row["name"]: row for row in record["rows"]}
    stages = ["read", "decode", "warp image", "warp mask", "example"]
    assert list(rows) == [*stages, "pipeline, 0 workers", "pipeline, 1 workers"]
    for row in rows.values():
        seconds = row["timing"]["median_seconds"]
        assert row["images_per_second"] == pytest.approx(row["images"] / seconds)
    for stage in stages:
        assert rows[stage]["images"] == 29
    assert rows["pipeline, 1 workers"]["images"] == 8

    without, with_worker = record["pipelines"]
    assert with_worker["image_and_mask_bytes"] == 128 * 128 * 3 + 32 * 32
    # 8 people of 17 points: coordinates, labelled; area, size, person, center, box.
    people = 8 * (17 * (8 + 1) + 4 + 8 + 1 + 1 + 16)
    others = 1 + 16 + 24  # mirrored, content, transform
    assert with_worker["bytes_per_image"] == 128 * 128 * 3 + 32 * 32 + people + others
    if without["resident"]:
        assert len(with_worker["resident"]) == 3
        assert {reading["workers"] for reading in without["resident"]} == {0}
        assert min(reading["workers"] for reading in with_worker["resident"]) > 0
    assert "pipeline, 1 workers: memory over 4 batches: trainer" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "got no data folder; set --data-dir=DIR"),
        (["--workers=1,-1"], "--workers: got '-1'"),
        (["--batches=0"], "--batches: got 0, expected >= 1"),
        (["--rounds=0"], "--rounds: got 0, expected >= 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        run(*arguments)
