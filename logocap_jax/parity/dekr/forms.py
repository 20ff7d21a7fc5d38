"""One photograph through the decoders that weights are published with.

Cases are the `ref_FORM.npz` of `../shared/siblings/mmpose`, each beside weights in that
form, `dekr*_FORM*.pth`; its README lists their arrays. All weights of a folder are one
net.
"""

import pathlib
from collections.abc import Set

import jax
import jax.numpy as jnp
import numpy as np

from data_pipeline.read.images import decode_photograph
from logocap_jax.methods import build_config
from logocap_jax.methods.base import Variables
from logocap_jax.parity.cases import array_names, case_name, read_arrays
from logocap_jax.parity.compare import Comparison, StageResult
from logocap_jax.parity.dekr.decoders import CHECKS, DecoderCheck
from logocap_jax.parity.layout import Entry, Layout, from_torch
from logocap_jax.parity.pose_map_cases import map_last, pose_map_last
from logocap_jax.weights.containers import errors_naming
from logocap_jax.weights.files import read_weights
from logocap_jax.weights.settings import read_settings
from logocap_jax.weights.trees import flatten

_BIAS = 1.2e-7  # by so much the forms differ: 1 is taken from biases, and put back
_RELEASE: Layout = {
    "shown_heatmaps": Entry("s", rows_of="K1"),
    "heatmaps": Entry("s h w", map_last),
    "posemap_nose": Entry("2 h w", pose_map_last),
    "final_keypoints": Entry("f K 3", required=True),
    "final_scores": Entry("f", required=True),
}
_OLD: Layout = {
    "base_size": Entry("2", required=True),
    "keypoints": Entry("f K 2", required=True),
    "keypoint_scores": Entry("f K", required=True),
    "keypoint_heat": Entry("f K"),
    "scores": Entry("f", required=True),
    "scores_no_rescore": Entry("f"),
}
_NEW: Layout = {
    "image_resized": Entry("H W 3", lambda image: image[None], required=True),
    "input_size": Entry("2", required=True),
    "heatmaps_raw_mirror": Entry("K1 h w", map_last),
    "displacements_raw_mirror_nose": Entry("2 h w", pose_map_last),
    "heatmaps": Entry("K1 h w", map_last),
    "displacements": Entry("K2 h w", pose_map_last),
    "decoded_keypoints": Entry("n K 2", required=True),
    "root_scores": Entry("n", required=True),
    "keypoint_heat": Entry("n K", required=True),
    "rescore_feature": Entry("n F"),
    "rescore": Entry("n"),
    "tied_rows": Entry("t", required=True),
    **{
        f"nms_{name}{suffix}": Entry(axes, required=True)
        for name, axes in (("keep", "f"), ("keypoints", "f K 2"), ("scores", "f K"))
        for suffix in ("", "_no_rescore")
    },
    "noflip_keypoints": Entry("g K 2", required=True),
    "noflip_scores": Entry("g K", required=True),
}
# Decoder of each form, and the arrays of its cases.
_FORMS = {
    "official": ("official", _RELEASE),
    "mmpose_0x": ("mmpose_0x", _OLD),
    "mmpose_1x": ("mmpose", _NEW),
}


def holds_form(path: pathlib.Path, names: Set[str]) -> bool:
    """True for a case of a form of weights, told by its name and arrays."""
    _, layout = _FORMS.get(_form_of(path), (None, None))
    return layout is not None and names >= {
        name for name, entry in layout.items() if entry.required
    }


def _form_of(path: pathlib.Path) -> str:
    return path.stem.removeprefix("ref_") if path.stem.startswith("ref_") else ""


def check_form(
    path: pathlib.Path, *, dtype: str = "float32", marks: bool = True
) -> list[StageResult]:
    """Compare weights of all forms, and the way of one from the photograph to poses.

    Args:
      path: of the case; the photograph is `data/*/*/NUMBER.jpg` in a folder above.
      dtype: of the network.
      marks: hold errors against tolerances.

    Raises:
      ValueError: damaged file, or weights, photograph or arrays that are missing.
    """
    decoder, layout = _FORMS[_form_of(path)]
    compare = Comparison(case_name(path), marks=marks)
    variables = _weights(path)
    _compare_weights(compare, path, variables)
    settings = read_settings(variables)
    name = settings.pop("name")
    config = build_config(name, settings | {"dtype": dtype, "decoder": decoder})
    count = config.skeleton.num_keypoints
    with errors_naming(path):
        sizes = {"K": count, "K1": count + 1, "K2": 2 * count}
        arrays = from_torch(read_arrays(path), layout, sizes)
    photograph = decode_photograph(_photograph(path))
    check = DecoderCheck(compare, arrays, config, jax.tree.map(jnp.asarray, variables))
    CHECKS[decoder](check, photograph)
    return compare.results


def _weights(path: pathlib.Path) -> Variables:
    """The first weights in the form of a case."""
    files = _files(path.parent, _form_of(path))
    if not files:
        raise ValueError(f"{path}: no weights dekr*_{_form_of(path)}*.pth beside it")
    return _read(files[0])


def _files(folder: pathlib.Path, form: str) -> list[pathlib.Path]:
    return sorted(folder.glob(f"dekr*_{form}*.pth"))


def _read(path: pathlib.Path, like: Variables | None = None) -> Variables:
    """Variables, with the scorer of a file of its own where the form has one."""
    scorer = path.with_name("rescore_official.pth")
    alone = path.stem.endswith("_official") and scorer.exists()
    files = {"scorer": scorer} if alone else None
    return read_weights(path, files=files, expected=like)[0]


def _compare_weights(
    compare: Comparison, path: pathlib.Path, variables: Variables
) -> None:
    """Hold the weights in all forms against those of the case."""
    expected = flatten(variables)
    for file in (file for form in _FORMS for file in _files(path.parent, form)):
        found = flatten(_read(file, variables))
        ours, theirs = (
            np.concatenate([arrays[name].ravel() for name in expected])
            for arrays in (found, expected)
        )
        compare.absolute("weights", ours, theirs, tolerance=_BIAS, fed_with=file.name)


def _photograph(path: pathlib.Path) -> pathlib.Path:
    cases = sorted(path.parent.glob("ref_*.npz"))
    holder = next((case for case in cases if "image_id" in array_names(case)), None)
    if holder is None:
        raise ValueError(
            f"{path.parent}: no case has 'image_id', a photograph's number"
        )
    name = f"{int(read_arrays(holder)['image_id']):012d}.jpg"
    for folder in path.resolve().parents:
        for found in sorted(folder.glob(f"data/*/*/{name}")):
            return found
    raise ValueError(f"{path}: no photograph data/*/*/{name} in a folder above it")
