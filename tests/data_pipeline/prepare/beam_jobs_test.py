import json

import numpy as np
import pytest

from data_pipeline.prepare.dataset import prepare_coco
from data_pipeline.read.sources import open_source
from logocap_jax.skeletons import COCO

pytest.importorskip("apache_beam", reason="Apache Beam is not installed: [beam] extra")

# Beam uses what Python and others have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore")


def prepare(root, out, **changes):
    return prepare_coco(root, out, skeleton=COCO, progress=False, **changes)


def test_beam_writes_what_is_written_without_it(write_coco, tmp_path):
    root = write_coco(num_images=7)
    (root / "train2017/003.jpg").write_bytes(b"\xff\xd8broken")
    plain = prepare(root, tmp_path / "plain", skip_bad=True)
    beam = prepare(root, tmp_path / "beam", skip_bad=True, beam_options=[])
    assert beam == plain
    assert beam.written == {"train": 6, "val": 7}
    for split in ("train", "val"):
        one, other = (open_source(tmp_path / name, split) for name in ("plain", "beam"))
        assert one.sizes == other.sizes
        assert len(one) == len(other)
        for position in range(len(one)):
            a, b = vars(one[position]), vars(other[position])
            for name in a:
                np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        truths = (
            json.loads((tmp_path / name / f"ground_truth_{split}.json").read_text())
            for name in ("plain", "beam")
        )
        assert next(truths) == next(truths)


def test_beam_refuses_bad_images_and_leaves_nothing(write_coco, tmp_path):
    root = write_coco()
    (root / "val2017/002.jpg").write_bytes(b"\xff\xd8broken")
    with pytest.raises(ValueError, match=r"image 2 \('002.jpg'\): got a truncated"):
        prepare(root, tmp_path / "out", beam_options=[])
    assert {path.name for path in tmp_path.iterdir()} == {"coco"}
