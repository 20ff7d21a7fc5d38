import json

import cv2
import numpy as np
import pytest

from logocap_jax.visualization.charts import draw_curves


def _line(step, **values):
    return json.dumps({"step": step, **values})


_LINES = [
    *(_line(step, **{"loss/total": 1 / (step + 1), "lr": 1e-3}) for step in range(50)),
    *(_line(step, **{"eval/logocap/AP": step / 100}) for step in (10, 20)),
]


def _drawn(tmp_path, text):
    log, out = tmp_path / "metrics.jsonl", tmp_path / "curves.png"
    log.write_bytes(text if isinstance(text, bytes) else text.encode())
    draw_curves(log, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, log.name]
    return cv2.imdecode(np.fromfile(out, np.uint8), cv2.IMREAD_COLOR)


def _text(lines):
    return "".join(f"{line}\n" for line in lines)


def test_curves_have_ink_in_both_panels(tmp_path):
    empty, drawn = _drawn(tmp_path, ""), _drawn(tmp_path, _text(_LINES))
    assert drawn.shape == empty.shape == (540, 1440, 3)
    # The blue of LOGO-CAP's AP is in the right panel alone.
    blue = (drawn == (0xCC, 0x77, 0x00)).all(axis=-1)
    assert not blue[:, :720].any()
    assert blue[:, 720:].any()
    black = (drawn == 0x22).all(axis=-1)
    assert black[:, :720].any()


@pytest.mark.parametrize(
    ("name", "panel"),
    [
        ("loss/of_any_name", 0),
        ("eval/of_any_name/AP", 1),
        ("eval/logocap_ema/AP", 1),  # of the moving average
    ],
)
def test_curves_of_any_name_are_drawn(tmp_path, name, panel):
    def ink(lines):
        drawn = _drawn(tmp_path, _text(lines))[:400, 720 * panel : 720 * panel + 720]
        return (np.ptp(drawn.astype(int), axis=-1) > 60).sum()

    others = [_line(0, **{"loss/total": 0.5})]
    lines = [_line(step, **{name: 0.2 + step / 100}) for step in range(50)]
    assert ink(others) < 20 < 200 < ink(others + lines)


def test_counts_get_a_panel_of_their_own(tmp_path):
    lines = [_line(step, **{"count/people": step % 3}) for step in range(9)]
    assert _drawn(tmp_path, _text(lines)).shape == (540, 2160, 3)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [_line(1)],
        [_line(1, lr=0.1)],
        [_line(1, **{"loss/kam": 0.5})],
        [_line(1, **{"eval/bound/AP": 0.5})],
        [_line(step, **{"loss/heatmap": 0.0}) for step in range(3)],
        [_line(step, **{"loss/offset": float("nan")}) for step in range(3)],
        ['{"step": 1, "loss/total": null, "eval/initial/AP": null}', ""],
        ['{"step": 1, "loss/total": 1e999}'],
    ],
)
def test_any_subset_of_values_is_drawn(tmp_path, lines):
    assert _drawn(tmp_path, _text(lines)).shape == (540, 1440, 3)


@pytest.mark.parametrize("cut", [1, 10, 17, 30])
def test_last_line_cut_short_is_left_out(tmp_path, cut):
    whole = _text(_LINES)
    last = _line(60, **{"loss/total": 1e-9, "note": "\u00e4"})[:cut]
    np.testing.assert_array_equal(
        _drawn(tmp_path, whole + last), _drawn(tmp_path, whole)
    )


def test_last_line_that_is_whole_but_for_its_newline_counts(tmp_path):
    np.testing.assert_array_equal(
        _drawn(tmp_path, _text(_LINES).rstrip("\n")), _drawn(tmp_path, _text(_LINES))
    )


def test_value_logged_again_after_a_resume_replaces_the_first(tmp_path):
    wrong = [_line(step, **{"loss/total": 1e-9}) for step in range(40, 50)]
    resumed = [*_LINES[:40], *wrong, *_LINES[40:]]
    np.testing.assert_array_equal(
        _drawn(tmp_path, _text(resumed)), _drawn(tmp_path, _text(_LINES))
    )


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 1, "loss',
        "[1, 2]",
        "7",
        "null",
        "{}",
        '{"step": "1"}',
        '{"step": 1.5}',
        '{"step": true}',
        '{"step": 1, "loss/total": "0.5"}',
        '{"step": 1, "eval/initial/AP": [0.5]}',
        "\x00\x00\x00",
        b"\xff\xfe",
        "[" * 200_000,
    ],
)
def test_damaged_line_is_named_and_no_figure_is_written(tmp_path, line):
    line = line if isinstance(line, bytes) else line.encode()
    log = tmp_path / "metrics.jsonl"
    log.write_bytes(_line(0).encode() + b"\n\n" + line + b"\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 3: ") as error:
        draw_curves(log, tmp_path / "curves.png")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [log]
