"""What is fuzzed: each target takes spoiled input and checks what becomes of it.

Input is refused with one line, or what is made of it is sound. The seeds that are
files, and files that once were a problem, are in `corpus/`.
"""

import io
import json
import math
import pathlib
import sys
import tempfile
import zipfile
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from data_pipeline.read.coco import AnnotationFile, read_coco
from logocap_jax.evaluation.coco import evaluate_coco
from logocap_jax.evaluation.results import ImagePoses, to_coco, write_results
from logocap_jax.skeletons import COCO
from logocap_jax.weights.containers import read_arrays
from tests.fuzz.spoiled import spoiled_bytes, spoiled_json

T = TypeVar("T")

CORPUS = pathlib.Path(__file__).parent / "corpus"
ANNOTATIONS = json.loads((CORPUS / "annotations.json").read_text())
WEIGHTS = sorted(CORPUS.glob("weights*"))
MAX_WEIGHTS = 1 << 20


@given(spoiled_json(ANNOTATIONS) | spoiled_bytes(json.dumps(ANNOTATIONS).encode()))
def annotations(content: object) -> None:
    """`read_coco` leaves bad records out, with a line each, or refuses the file."""
    encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name).resolve()
        path = folder / "annotations.json"
        path.write_bytes(encoded)
        (folder / "1.jpg").touch()
        (folder / "2.jpg").touch()
        read = accepted(lambda: read_coco(AnnotationFile(path), folder, COCO), path)
        if read is None:
            return
        assert all("\n" not in str(fault) for fault in read.faults)
        assert bool(read.left_out) <= bool(read.faults)
        for record in read.records:
            assert record.image in {folder / "1.jpg", folder / "2.jpg"}
            assert min(record.width, record.height) > 0
            assert np.isin(record.visibility, [0, 1, 2]).all()
            for array in (record.keypoints, record.bbox, record.area):
                assert np.isfinite(array).all()


@st.composite
def spoiled_weights(draw: st.DrawFn) -> bytes:
    """A file of weights, spoiled; or a member of it, with the right checksum."""
    content = draw(st.sampled_from(WEIGHTS)).read_bytes()
    if not content.startswith(b"PK") or draw(st.booleans()):
        return draw(spoiled_bytes(content))
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as source,
        zipfile.ZipFile(stream, "w") as target,
    ):
        chosen = draw(st.sampled_from(source.namelist()))
        for member in source.namelist():
            data = source.read(member)
            target.writestr(
                member, draw(spoiled_bytes(data)) if member == chosen else data
            )
    return stream.getvalue()


# Instructions of a pickle, whole, for metadata that is a program of any kind.
_INSTRUCTIONS = (
    *(b"chostile_module\nrun\n", b"cposix\nsystem\n", b"ccollections\nOrderedDict\n"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"),
    *(b"ctorch\nBFloat16Storage\n", b"cnumpy\nndarray\n", b"X\x01\x00\x00\x00a"),
    *(b"X\x07\x00\x00\x00storage", b"K\x01", b"J\xff\xff\xff\xff", b"N", b")", b"]"),
    *(b"}", b"\x8f", b"(", b"t", b"\x85", b"\x86", b"\x87", b"R", b"\x81", b"\x92"),
    *(b"o", b"b", b"s", b"u", b"a", b"e", b"\x90", b"\x91", b"\x93", b"Q", b"0", b"1"),
    *(b"q\x00", b"h\x00", b"\x94", b"B\x01\x00\x00\x00a", b"G" + bytes(8)),
)


@st.composite
def programmed_metadata(draw: st.DrawFn) -> bytes:
    """A good file of weights, with a program as metadata beside the state dict."""
    program = b"".join(draw(st.lists(st.sampled_from(_INSTRUCTIONS), max_size=40)))
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(CORPUS / "weights_zip.pth") as source,
        zipfile.ZipFile(stream, "w") as target,
    ):
        for member in source.namelist():
            data = source.read(member)
            if member.endswith("data.pkl"):
                meta = b"X\x04\x00\x00\x00meta" + program + b"s"
                state = b"X\x0a\x00\x00\x00state_dict" + data[2:-1] + b"s"
                data = b"\x80\x02}" + meta + state + b"."
            target.writestr(member, data)
    return stream.getvalue()


@given(spoiled_weights() | programmed_metadata())
def weights(content: bytes) -> None:
    """`read_arrays` gives plain arrays of the allowed size, or refuses the file."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name) / "weights"
        path.write_bytes(content)
        arrays = accepted(lambda: read_arrays(path, max_bytes=MAX_WEIGHTS), path)
        for key, array in (arrays or {}).items():
            assert key.isprintable()
            assert array.dtype.kind in "fiub"
            assert array.nbytes <= MAX_WEIGHTS
    assert "hostile_module" not in sys.modules


@st.composite
def any_poses(draw: st.DrawFn) -> ImagePoses:
    """Poses of any float32 numbers, and of none."""
    count = draw(st.integers(0, 3))
    shapes = [(count, 17, 2), (count, 17), (count,)]
    elements = draw(
        st.sampled_from(
            [st.floats(-1e4, 1e4, width=32), st.floats(width=32), st.just(3.0)]
        )
    )
    arrays = [
        draw(hnp.arrays(np.float32, shape, elements=elements)) for shape in shapes
    ]
    return ImagePoses(draw(st.integers(1, 2)), *arrays)


@given(any_poses(), st.booleans())
def result_writer(poses: ImagePoses, other_before: bool) -> None:
    """`write_results` writes what can be scored; or refuses, and nothing changes."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name) / "results.json"
        if other_before:
            path.write_text("[]\n")
        refusal = None
        try:
            write_results(path, [poses])
        except ValueError as error:
            refusal = str(error)
        left = list(path.parent.iterdir())
        if refusal is None:
            assert left == [path]
            assert len(json.loads(path.read_text())) == len(poses.scores)
            # As a file, no results at all are an error.
            found = path if len(poses.scores) else []
            check_scores(evaluate_coco(ANNOTATIONS, found))
        else:
            assert "\n" not in refusal
            assert left == ([path] if other_before else [])
            assert not other_before or path.read_text() == "[]\n"


RESULTS = to_coco(
    ImagePoses(
        number,
        np.arange(34 * 2, dtype=np.float32).reshape(2, 17, 2) + number,
        np.full((2, 17), 0.5, np.float32),
        np.asarray([0.5, 0.25], np.float32),
    )
    for number in (1, 2)
)


@given(spoiled_json(RESULTS))
def result_reader(content: object) -> None:
    """`evaluate_coco` scores results, or refuses them."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name) / "results.json"
        path.write_text(json.dumps(content))
        scores = accepted(lambda: evaluate_coco(ANNOTATIONS, path), path)
        if scores is not None:
            check_scores(scores)


def check_scores(scores: dict[str, float | None]) -> None:
    """Each is a share, or there is nobody to find."""
    for value in scores.values():
        assert value is None or (math.isfinite(value) and 0 <= value <= 1)


def accepted(read: Callable[[], T], path: pathlib.Path) -> T | None:
    """What was read; None if it was refused, in one line that names the file."""
    try:
        return read()
    except ValueError as error:
        refusal = str(error)
    assert str(path) in refusal
    assert "\n" not in refusal
    return None


TARGETS = (annotations, weights, result_writer, result_reader)
