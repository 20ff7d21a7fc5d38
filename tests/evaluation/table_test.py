import json

import pytest

from logocap_jax.evaluation.protocol import COLUMNS, format_table, write_metrics

_ROWS = {
    "initial": {
        "AP": 0.6,
        "AP50": 0.85,
        "AP75": 0.661,
        "APM": None,
        "APL": 0.7,
        "AR": 0.0,
    },
    "logocap": {
        "AP": 0.6964,
        "AP50": 1.0,
        "AP75": 0.7,
        "APM": 0.6,
        "APL": 0.8,
        "AR": 0.7,
    },
}


def test_table_is_aligned_in_percent_with_a_dash_for_nobody():
    assert format_table(_ROWS).splitlines() == [
        "poses       AP   AP50   AP75    APM    APL     AR",
        "initial   60.0   85.0   66.1      -   70.0    0.0",
        "logocap   69.6  100.0   70.0   60.0   80.0   70.0",
    ]


def test_columns_can_be_chosen():
    rows = {"logocap": {"AP": 0.6, "AP_easy": 0.75, "AP_hard": None, "AR": 0.1}}
    assert format_table(rows, ["AP", "AP_easy", "AP_hard"]).splitlines() == [
        "poses       AP  AP_easy  AP_hard",
        "logocap   60.0     75.0        -",
    ]


def test_metrics_file_holds_all_metrics(tmp_path):
    rows = {"bound": {**_ROWS["initial"], "AR50": 0.3}}
    write_metrics(tmp_path / "metrics.json", rows)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written == rows
    assert list(written["bound"]) == [*COLUMNS, "AR50"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize("bad", [float("nan"), -1.0, 1.01, 69.6])
def test_metric_outside_0_to_1_is_an_error(tmp_path, bad):
    rows = {"logocap": {**_ROWS["logocap"], "APM": bad}}
    with pytest.raises(ValueError, match="'logocap': got APM"):
        write_metrics(tmp_path / "metrics.json", rows)
    with pytest.raises(ValueError, match="'logocap': got APM"):
        format_table(rows)
    assert list(tmp_path.iterdir()) == []


def test_missing_metric_is_an_error():
    with pytest.raises(ValueError, match="'x': lacks AP50"):
        format_table({"x": {"AP": 0.5}})
