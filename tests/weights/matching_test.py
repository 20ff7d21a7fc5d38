import pytest

from logocap_jax.weights.trees import Report


def test_table_counts_all_and_lists_all_but_the_used():
    report = Report(["a"] * 5, [f"u{i}" for i in range(4)], ["m"], [])
    assert report.format(max_names=3).splitlines() == [
        "used             5",
        "unused           4",
        "missing          1",
        "wrong shape      0",
        "",
        "unused:",
        "  u0",
        "  u1",
        "  u2",
        "  ... and 1 more",
        "",
        "missing:",
        "  m",
    ]


def test_complete_report_is_accepted_and_incomplete_refused_in_one_line():
    Report(["a"], [], [], []).require_complete()
    with pytest.raises(
        ValueError, match=r"^2 arrays missing \(first: m\), 1 arrays of"
    ):
        Report(["a"], [], ["m", "n"], ["w"]).require_complete()
