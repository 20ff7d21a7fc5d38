import pytest

from logocap_jax.tables import format_table

ROWS = [["name", "median", "note"], ["a", "1.5 s", ""], ["longer", "12 ms", "see b"]]


def test_columns_are_as_wide_as_their_widest_cell():
    assert format_table(ROWS, align="<><").splitlines() == [
        "name    median  note",
        "a        1.5 s",
        "longer   12 ms  see b",
    ]


def test_the_last_alignment_holds_for_all_further_columns():
    rows = [["", "AP", "AR"], ["x", "60.0", "100.0"]]
    assert format_table(rows).splitlines() == ["     AP     AR", "x  60.0  100.0"]
    assert format_table(rows, align="<^").splitlines()[0] == "    AP    AR"


def test_columns_have_the_least_width_asked_for():
    rows = [["poses", "AP"], ["initial", "6.0"]]
    assert format_table(rows, min_width=5).splitlines() == [
        "poses       AP",
        "initial    6.0",
    ]


def test_a_title_widens_no_column():
    rows = [["", "a"], ["a title of a section"], ["x", "1"]]
    assert format_table(rows).splitlines() == ["   a", "a title of a section", "x  1"]
    assert format_table([["title"]]) == "title"


def test_short_rows_end_early():
    rows = [["a", "b", "c"], ["1", "2"]]
    assert format_table(rows).splitlines() == ["a  b  c", "1  2"]


@pytest.mark.parametrize(
    ("align", "rule"), [("<>", "| --- | ---: | ---: |"), ("^", "| :---: " * 3 + "|")]
)
def test_markdown_has_a_rule_under_its_header(align, rule):
    text = format_table([["a", "b", "c"], ["1", "2"]], align=align, markdown=True)
    assert text.splitlines() == ["| a | b | c |", rule, "| 1 | 2 |  |"]


def test_no_rows_are_no_text():
    assert format_table([]) == ""
