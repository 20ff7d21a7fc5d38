"""Where the poses of an evaluation are wrong: table, figure and file."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

from logocap_jax.evaluation.analysis import KINDS
from logocap_jax.evaluation.coco import keypoint_category
from logocap_jax.evaluation.error_report import report_errors
from logocap_jax.evaluation.error_table import format_reports
from logocap_jax.evaluation.results import to_coco, write_json
from logocap_jax.evaluation.runner import ResultSets
from logocap_jax.skeletons import Skeleton
from logocap_jax.visualization.charts import draw_error_chart

_LOG = logging.getLogger(__name__)


def write_error_analysis(
    truth: dict[str, Any], sets: ResultSets, skeleton: Skeleton, out: Path
) -> None:
    """Log the table; write `errors.json` and `errors.png`.

    Args:
      truth: COCO annotations with areas, checked.
      sets: poses by name of the result set. The bound is left out: it is made with
        the truth, so its errors are nobody's.
      skeleton: what the keypoints are.
      out: folder to write in.
    """
    category = keypoint_category(truth)
    reports = {
        name: report_errors(
            truth,
            to_coco(images, category_id=category),
            skeleton,
            image_ids=[image.image_id for image in images],
        )
        for name, images in sets.items()
        if not name.startswith("bound")
    }
    _LOG.info("errors\n%s", format_reports(reports))
    write_json(
        out / "errors.json",
        {name: dataclasses.asdict(report) for name, report in reports.items()},
        indent=2,
    )
    shares = {name: report.shares() for name, report in reports.items()}
    panels = {
        "errors, of all keypoints": {
            name: {kind: share[kind] for kind in KINDS[1:]}
            for name, share in shares.items()
        },
        "AP by square root of area, px": {n: r.by_size for n, r in reports.items()},
        "AP by people in the image": {n: r.by_people for n, r in reports.items()},
        "AP by keypoint": {n: r.by_keypoint for n, r in reports.items()},
    }
    draw_error_chart(panels, out / "errors.png")
