from configs.ablations import VARIANTS
from experiments.ablations import Row, format_tables


def row(variant, seed, answer, initial=0.2, people_only=None):
    name = VARIANTS[variant].answer
    metrics = {"initial": {"AP": initial}, "bound": {"AP": 0.9}, name: {"AP": answer}}
    return Row(variant, seed, metrics, people_only)


def cells(table, start):
    (line,) = (line for line in table.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_has_mean_and_spread_and_the_difference_of_each_seed():
    rows = [
        *(row("full", 0, 0.40), row("full", 1, 0.50), row("full", 2, 0.60)),
        *(row("mesh7", 0, 0.39), row("mesh7", 1, 0.48), row("mesh7", 2, 0.57)),
    ]
    table = format_tables(rows, VARIANTS)
    assert cells(table, "| `full`")[2:] == [
        *("69.6", "50.0 ± 10.0", "+0.0 ± 0.0", "20.0 ± 0.0", "90.0 ± 0.0", "3"),
    ]
    # Of the differences -1, -2, -3.
    assert cells(table, "| `mesh7`")[2:5] == ["68.4", "48.0 ± 9.0", "-2.0 ± 1.0"]


def test_a_seed_that_full_lacks_counts_in_no_difference():
    rows = [row("full", 0, 0.4), row("oks", 0, 0.3), row("oks", 1, 0.9)]
    oks = cells(format_tables(rows, VARIANTS), "| `oks`")
    assert oks[3:5] == ["60.0 ± 42.4", "-10.0"]


def test_the_baseline_answers_with_initial_poses():
    table = format_tables([row("baseline", 0, 0.3)], VARIANTS)
    assert cells(table, "| `baseline`")[2:] == [
        *("60.0", "30.0", "-", "30.0", "90.0", "1"),
    ]


def test_rows_come_in_the_order_of_the_paper_and_unscored_ones_not_at_all():
    rows = [row("kam_only", 0, 0.3), row("baseline", 0, 0.2)]
    lines = format_tables(rows, VARIANTS).splitlines()
    assert [line.split("`")[1] for line in lines if "`" in line] == [
        *("baseline", "kam_only"),
    ]


def test_table_1_is_of_the_images_with_people():
    sets = {"initial": {"AP": 0.1}, "logocap": {"AP": 0.2}, "bound": {"AP": 0.3}}
    rows = [row("full", 0, 0.4, people_only=sets), row("full", 1, 0.6)]
    table = format_tables(rows, VARIANTS)
    assert cells(table, "| LOGO-CAP") == ["LOGO-CAP", "70.0", "20.0", "20.0"]
    assert cells(table, "| the best") == [
        "the best of each mesh",
        "88.9",
        "30.0",
        "30.0",
    ]
