"""Error reports side by side, as text."""

from collections.abc import Iterable, Iterator, Mapping

from logocap_jax.evaluation.analysis import KINDS
from logocap_jax.evaluation.error_report import ErrorReport

Reports = Mapping[str, ErrorReport]


def format_reports(reports: Reports) -> str:
    """Lay out error reports as plain text, numbers in percent but for counts.

    Args:
      reports: by name of the result set, in the order to show; at least one.

    Returns:
      A table of which each column is a set, and one of which each row is a keypoint;
      without a newline at the end.
    """
    return "\n".join([*_summary(reports), "", *_by_keypoint(reports)])


def _summary(reports: Reports) -> Iterator[str]:
    columns = list(reports.values())
    yield _line("", reports)
    yield _line("AP", _percents(each.ap for each in columns))
    yield _line("people to find", [str(each.people) for each in columns])
    yield _line("  without a pose", [str(each.people_missed) for each in columns])
    yield _line("poses", [str(each.poses) for each in columns])
    yield _line("  that are nobody's", [str(each.poses_unmatched) for each in columns])
    for title, parts in (
        ("AP by square root of area, px", [each.by_size for each in columns]),
        ("AP by people in the image", [each.by_people for each in columns]),
        ("keypoints of found people", [each.shares() for each in columns]),
    ):
        yield title
        for name in parts[0]:
            yield _line(f"  {name}", _percents(part[name] for part in parts))


def _by_keypoint(reports: Reports) -> Iterator[str]:
    titles = ["AP", *KINDS[1:]]
    heads = [f"{name:^{10 * len(titles)}}" for name in reports]
    yield _line("", heads).rstrip()
    yield _line("", titles * len(reports))
    columns = list(reports.values())
    for name in columns[0].kinds:
        cells = [
            value
            for each in columns
            for value in [
                each.by_keypoint[name],
                *(each.share_of(name, kind) for kind in KINDS[1:]),
            ]
        ]
        yield _line(name, _percents(cells))


def _line(name: str, cells: Iterable[str]) -> str:
    return f"{name:<30}" + "".join(f"{cell:>10}" for cell in cells)


def _percents(values: Iterable[float | None]) -> list[str]:
    return ["-" if value is None else f"{100 * value:.1f}" for value in values]
