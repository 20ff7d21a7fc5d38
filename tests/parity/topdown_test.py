import numpy as np
import pytest

from logocap_jax.methods.topdown.heads import ProposalHead
from logocap_jax.parity import runner
from logocap_jax.parity.compare import first_failure

PIECES = ("codec", "crop", "learning_rate", "head_plain", "head_deconv", "wholebody")


@pytest.fixture
def folder(shared_dir, tmp_path):
    """Cases by links, as a folder of their own."""
    root = shared_dir / "siblings/sar/parity"

    def link(*names, inside=""):
        (tmp_path / inside).mkdir(exist_ok=True)
        for name in names:
            path = root / inside / f"{name}.npz"
            (tmp_path / inside / path.name).symlink_to(path)
        return tmp_path

    return link


def check(folder):
    results = [each for case in runner.run_cases(folder) for each in case]
    failure = first_failure(results)
    return failure and f"{failure.case}: {failure.stage}", len(results)


@pytest.mark.parametrize("name", PIECES)
def test_pieces_agree(folder, name):
    failure, count = check(folder(name))
    assert failure is None
    assert count > 0


@pytest.mark.parametrize(
    ("net", "cases", "count"),
    [
        ("tiny_hrnet", ("infer_200887", "infer_488820"), 21),
        ("tiny_resnet", ("infer_497615", "train_step"), 22),
    ],
)
def test_whole_nets_agree(folder, net, cases, count):
    failure, found = check(folder("weights", *cases, inside=net))
    assert failure is None
    assert found == count


def test_a_sign_of_the_offsets_is_noticed(folder, monkeypatch):
    monkeypatch.setattr("logocap_jax.parity.topdown.pieces.ProposalHead", Turned)
    failure, _ = check(folder("head_plain"))
    assert failure is not None


class Turned(ProposalHead):
    """A head whose proposals lie on the other side."""

    @staticmethod
    def decode(maps):
        return ProposalHead.decode({**maps, "proposals": -maps["proposals"]})


def test_a_wrong_target_is_noticed(shared_dir, tmp_path):
    with np.load(shared_dir / "siblings/sar/parity/codec.npz") as file:
        arrays = dict(file)
    arrays["keypoint_weights"] = 1 - arrays["keypoint_weights"]
    np.savez(tmp_path / "codec.npz", **arrays)
    failure, _ = check(tmp_path)
    assert failure.endswith("labelled")
