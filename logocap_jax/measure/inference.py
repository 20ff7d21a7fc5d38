"""Inference: each named stage, all of it, and the way from JPEG files to poses."""

import argparse
import copy
import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np
from jaxtyping import UInt8

from data_pipeline.drawn.paint import draw_background
from logocap_jax.experiment.run import Run, resolve
from logocap_jax.measure.benchmark import (
    BenchmarkOptions,
    Session,
    Setting,
    TimedCall,
    all_settings,
    positive,
    run_first,
    split,
    static_row,
)
from logocap_jax.measure.pieces import (
    COMPUTED,
    PREDICT,
    Arrays,
    Piece,
    find_spec,
    make_pieces,
    needed_pieces,
)
from logocap_jax.measure.programs import Program
from logocap_jax.measure.rows import Row
from logocap_jax.methods.base import Variables, finish
from logocap_jax.models.folding import formats
from logocap_jax.predictor import Predictor
from logocap_jax.predictor.compiled import Model
from logocap_jax.predictor.inputs import letterbox
from logocap_jax.structures import Poses, View
from logocap_jax.weights.files import load_weights

FINISH, PATH = "finish", "whole-path"
ADVICE = "a smaller --batch or --size lowers it, and so does --dtype bfloat16"


def run(args: argparse.Namespace) -> int:
    """Measure inference; the exit code.

    Raises:
      ValueError: if the options make no sense together.
    """
    session = Session(args)
    config, options = session.config, session.options
    only, people = split(args.only, str), split(args.people, positive("--people"))
    side = config.eval.short_side
    settings = list(all_settings(args, config, batch=1, side=side))
    shapes = jax.eval_shape(resolve(config).method.init, jax.random.key(0))
    variables = shapes if options.compile_only else fill(shapes)
    if args.weights is not None:
        if not args.weights.exists():
            raise ValueError(f"{args.weights}: no such weights, expected a file or run")
        variables = load_weights(args.weights, expected=shapes)

    def measure(setting: Setting) -> list[Row]:
        changed = copy.deepcopy(config)
        changed.method.dtype = setting.dtype
        return measure_inference(
            resolve(changed),
            setting,
            variables,
            people=people,
            only=only,
            share_canvases=args.share_canvases,
            options=options,
        )

    return session.run(settings, measure, ADVICE)


def fill(shapes: Variables) -> Variables:
    """Values that keep activations finite, made faster than by `init`."""
    rng = np.random.default_rng(0)

    def fill_leaf(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) > 1:
            scale = 1 / np.sqrt(np.prod(leaf.shape[:-1]))
            return rng.normal(0, scale, leaf.shape).astype(np.float32)
        ones = path[-1].key in ("scale", "var")
        return np.full(leaf.shape, float(ones), np.float32)

    return jax.tree_util.tree_map_with_path(fill_leaf, shapes)


class Start(NamedTuple):
    """The arrays that the pieces start from."""

    label: str  #: ending of the names of rows, such as `, 3 people`
    arrays: Arrays  #: inputs, and the arrays of a scene where the method has scenes


def measure_inference(
    run: Run,
    setting: Setting,
    variables: Variables,
    *,
    people: Sequence[int] = (),
    only: Sequence[str] = (),
    share_canvases: bool = False,
    options: BenchmarkOptions,
) -> list[Row]:
    """Measure one setting.

    Args:
      run: with the method, in the setting's dtype.
      setting: batch and size.
      variables: of the method, or their shapes where nothing is to run.
      people: numbers of people in an image, with rows for each; empty: as many as the
        method has slots. Pieces that depend on them start from the arrays of a scene,
        the same for all images of a batch.
      only: names of rows; empty: all.
      share_canvases: pass valid sizes, as `Predictor` does where inputs of many sizes
        share a canvas; the images fill it all the same.
      options: how much to measure.

    Raises:
      DoesNotFitError: if the device has not enough memory.
      ValueError: if there is no such row, no room for so many people, or the method
        cannot do as asked.
    """
    if share_canvases and not run.inputs.shares_canvases:
        raise ValueError("--share-canvases: got a method that takes full inputs only")
    scene_names, starts = _make_starts(run, setting, people, share_canvases)
    pieces = make_pieces(run, scene_names)
    chosen = _choose_rows(run, pieces, only)
    asked = chosen | ({PREDICT} if {FINISH, PATH} & chosen else set())
    pieces = needed_pieces(pieces, asked, starts[0].arrays)
    device = options.device or jax.local_devices()[0]
    prepared = jax.eval_shape(run.method.prepare, variables)
    placed = formats(prepared, device)
    shapes = jax.tree.map(
        lambda leaf, place: leaf.update(sharding=place), prepared, placed
    )
    programs = _compile(options, pieces, shapes, starts[0].arrays)
    if options.compile_only:
        return [
            static_row(name, setting, program)
            for name, program in programs.items()
            if name in chosen
        ]
    prepared = jax.device_put(jax.jit(run.method.prepare)(variables), placed)
    calls: dict[str, TimedCall] = {}
    with tempfile.TemporaryDirectory() as folder:
        photographs = write_photographs(Path(folder), setting.batch, size=setting.size)
        for start in starts:
            for call in _calls(run, setting, pieces, programs, prepared, start):
                calls.setdefault(call.row.name, call)
            if PATH in chosen:
                call = _whole_path(run, setting, programs, prepared, start, photographs)
                calls[call.row.name] = call
        return options.measure(
            [call for name, call in calls.items() if name.partition(",")[0] in chosen]
        )


def _make_starts(
    run: Run, setting: Setting, people: Sequence[int], share_canvases: bool
) -> tuple[tuple[str, ...], list[Start]]:
    """Names of the arrays of a scene, and arrays for each number of people."""
    batch, size = setting.batch, setting.size

    def stacked(array: np.ndarray) -> np.ndarray:
        return np.broadcast_to(array, (batch, *array.shape))

    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    valid_size = stacked(np.array(size, np.int32)) if share_canvases else None
    transform = stacked(np.eye(2, 3, dtype=np.float32))
    scaled = tuple(
        stacked(np.zeros((*(int(side * scale) for side in size), 3), np.uint8))
        for scale in run.inputs.scales
    )
    inputs: dict[str, Any] = {
        "image": stacked(image),
        "valid_size": valid_size,
        "input_to_image": transform,
        "scaled": scaled,
    }
    spec, config = find_spec(run)
    scene = spec.scene(config)
    if scene is None:
        if people:
            raise ValueError(f"--people: got {people[0]}, but the method has no scenes")
        return (), [Start("", inputs)]
    if people and max(people) > scene.most_people:
        raise ValueError(
            f"--people: got {max(people)}, expected at most the method's "
            f"{scene.most_people} slots"
        )
    starts = []
    for count in people or [scene.most_people]:
        drawn = scene.draw(count, size)
        arrays = {name: stacked(array) for name, array in drawn.items()}
        arrays |= {COMPUTED: np.asarray(False)}
        starts.append(Start(f", {count} people", inputs | arrays))
    return tuple(drawn), starts


def _choose_rows(
    run: Run, pieces: Sequence[Piece], only: Sequence[str]
) -> frozenset[str]:
    names = [piece.name for piece in pieces]
    names += [FINISH, PATH] if run.method.finish else [PATH]
    if unknown := sorted(set(only) - set(names)):
        raise ValueError(f"--only: got {unknown}, expected some of {','.join(names)}")
    return frozenset(only or names)


def _compile(
    options: BenchmarkOptions,
    pieces: Sequence[Piece],
    variables: Variables,
    start: Arrays,
) -> dict[str, Program]:
    arrays, programs = dict(start), {}
    for piece in pieces:
        taken = {name: arrays[name] for name in piece.reads}
        programs[piece.name] = options.compile(piece.name, piece.run, variables, taken)
        arrays = jax.eval_shape(piece.run, variables, taken) | arrays
    return programs


def _calls(
    run: Run,
    setting: Setting,
    pieces: Sequence[Piece],
    programs: Mapping[str, Program],
    variables: Variables,
    start: Start,
) -> Iterator[TimedCall]:
    """Run the programs one after the other, each on the results of those before."""
    arrays = jax.device_put(dict(start.arrays))
    for piece in pieces:
        program = programs[piece.name]
        name = piece.name + (start.label if piece.by_people else "")
        taken = {key: arrays[key] for key in piece.reads}
        row = static_row(name, setting, program)
        call, results = run_first(row, program, variables, taken)
        arrays = results | arrays  # those of a scene stay
        # One behind the other, predictions would not be latencies.
        yield call._replace(queued=piece.name != PREDICT)
    if run.method.finish and PREDICT in arrays:
        outputs = jax.device_get(arrays[PREDICT])
        row = Row(
            FINISH + start.label, str(setting), setting.batch, remark="on the host"
        )
        yield TimedCall(row, functools.partial(run.method.finish, outputs), False)


def _whole_path(
    run: Run,
    setting: Setting,
    programs: Mapping[str, Program],
    variables: Variables,
    start: Start,
    photographs: Sequence[Path],
) -> TimedCall:
    """From JPEG files to poses in image px, as `Predictor` goes."""
    arrays = jax.device_put(dict(start.arrays))
    shares = arrays["valid_size"] is not None

    def predict(view: View) -> Any:
        return programs[PREDICT].run(variables, {**arrays, **vars(view)})[PREDICT]

    def answer(outputs: Any) -> Poses:
        return finish(run.method, outputs)[run.method.answer]

    height, width = setting.size
    predictor = Predictor(
        Model(predict, run.skeleton, answer, inputs=run.inputs),
        letterbox((width, height)),
        canvas=(lambda size: size) if shares else None,
        batch_size=setting.batch,
    )
    remark = "with JPEG decoding, warping, transfer, and back to image px"
    row = Row(PATH + start.label, str(setting), setting.batch, remark=remark)
    return TimedCall(row, lambda: predictor(photographs), queued=False)


def write_photographs(folder: Path, count: int, *, size: tuple[int, int]) -> list[Path]:
    """Write JPEG files of `(height, width)` px, drawn rooms without people."""
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        pixels: UInt8[np.ndarray, "H W 3"] = draw_background(rng, max(size))
        crop = pixels[: size[0], : size[1]]
        paths.append(folder / f"{number}.jpg")
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
        paths[-1].write_bytes(encoded.tobytes())
    return paths
