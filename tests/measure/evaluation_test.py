import pytest

from logocap_jax import cli
from logocap_jax.evaluation import evaluate_coco
from logocap_jax.measure.evaluation import draw_poses


def test_people_are_found_and_other_poses_are_not():
    truth, results = draw_poses(4, poses=6, people=2)
    assert len(truth["images"]) == 4
    assert len(truth["annotations"]) == 8
    assert len(results) == 24
    metrics = evaluate_coco(truth, results)
    assert metrics["AR50"] == 1.0
    assert 0.1 < metrics["AP"] < metrics["AR"] < 1


def test_each_evaluator_has_a_row(capsys):
    pytest.importorskip("faster_coco_eval", reason="comes with the extra 'dev'")
    arguments = ["--images", "3", "--poses", "4", "--people", "2", "--rounds", "1"]
    assert cli.main(["benchmark", "evaluation", *arguments]) == 0
    rows = capsys.readouterr().out.splitlines()
    names = {row.partition(" ")[0] for row in rows}
    assert names >= {"pycocotools", "faster-coco-eval"}
    assert any("2 people, 4 poses in each of 3" in row for row in rows)


def test_numbers_that_make_no_sense_end_in_one_line(capsys):
    assert cli.main(["benchmark", "evaluation", "--poses", "2", "--people", "3"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: got 5000 images with 3 people and 2 poses")
