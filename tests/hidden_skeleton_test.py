"""No code counts on COCO's keypoints, but for what is about them."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Where COCO's skeleton may be meant by name, and its size by number.
ALLOWED = {
    "data_pipeline/read/layouts.py": "data sets with its keypoints",
    "data_pipeline/drawn/": "drawn people",
    "logocap_jax/parity/": "the reference's arrays are of COCO",
    "logocap_jax/methods/dense_config.py": "the stated default of a method's settings",
    "logocap_jax/methods/pose_map.py": "the stated default, and a rule of the releases",
    "logocap_jax/methods/topdown/config.py": "the stated default of its settings",
    "logocap_jax/methods/higher_maps.py": "the stated default of a method's settings",
    "logocap_jax/methods/higherhrnet/config.py": "the release's order of keypoints",
    "logocap_jax/methods/dekr/mmpose.py": "mmpose's order of the scorer's sticks",
    "logocap_jax/methods/ranking/config.py": "the release's rule of duplicates",
    "logocap_jax/inference/pose_features.py": "the unit of the reference's scorers",
    "logocap_jax/evaluation/coco.py": "the stated default of COCO's own metric",
    "logocap_jax/measure/evaluation.py": "scoring as much as COCO's val2017",
    "logocap_jax/experiment/run.py": "to plan and to measure without a data set",
}
# Keypoints, and numbers of a person.
NUMBERS = {17, 51}


def mentions(tree: ast.AST) -> Iterator[int]:
    """Lines that mean COCO's skeleton, or have its size as a number or a shape."""
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=int(number)) if number in NUMBERS:
                yield node.lineno
            case ast.Subscript(
                slice=ast.Tuple(elts=[_, ast.Constant(value=str(axes))])
            ):
                if {str(number) for number in NUMBERS} & set(axes.split()):
                    yield node.lineno
            case ast.Attribute(value=ast.Name(id="skeletons"), attr="COCO"):
                yield node.lineno
            case ast.ImportFrom(module="logocap_jax.skeletons", names=names):
                if any(alias.name == "COCO" for alias in names):
                    yield node.lineno


def files() -> Iterator[tuple[str, pathlib.Path]]:
    found = [ROOT / "train.py", ROOT / "eval.py", *ROOT.glob("configs/*.py")]
    for package in ("logocap_jax", "data_pipeline"):
        found += sorted((ROOT / package).rglob("*.py"))
    for path in found:
        yield path.relative_to(ROOT).as_posix(), path


def test_nothing_counts_on_cocos_keypoints():
    found = [
        f"{name}:{line}"
        for name, path in files()
        if not name.startswith(tuple(ALLOWED))
        for line in mentions(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, f"take the skeleton of the data or of the weights: {found}"


def test_the_list_of_exceptions_has_no_leftovers():
    for start in ALLOWED:
        trees = [ast.parse(p.read_text()) for n, p in files() if n.startswith(start)]
        assert any(list(mentions(tree)) for tree in trees), start


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("kinds = 17", 1),
        ("def f(x: Float[np.ndarray, '17 2']): ...", 1),
        ("skeletons.COCO.sigmas", 1),
        ("from logocap_jax.skeletons import COCO, Skeleton", 1),
        ("from pycocotools.coco import COCO", 0),
        ("skeletons.CROWDPOSE, 0.17, '17', 117", 0),
        ('"""COCO has 17."""', 0),
    ],
)
def test_mentions_are_found(source, count):
    assert len(list(mentions(ast.parse(source)))) == count
