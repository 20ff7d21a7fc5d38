"""Inference: each named stage, all of it, and the way from JPEG files to poses."""

import argparse
import copy
import functools
import itertools
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipeline.drawn.paint import draw_background
from logocap_jax.experiment.run import Run, resolve
from logocap_jax.measure.benchmark import (
    BenchmarkOptions,
    Session,
    Setting,
    TimedCall,
    all_settings,
    fill,
    run_first,
    split,
    static_row,
    whole_number,
)
from logocap_jax.measure.programs import Program
from logocap_jax.measure.rows import Row
from logocap_jax.methods import build_config, find_method
from logocap_jax.methods.base import MethodSpec, Stage, Variables, answer_of, finish
from logocap_jax.methods.stages import SLOT_IMAGE, VALID, run_stages
from logocap_jax.models.folding import formats
from logocap_jax.predictor import Predictor
from logocap_jax.predictor.compiled import Model
from logocap_jax.predictor.inputs import letterbox
from logocap_jax.structures import View
from logocap_jax.visualization.overlay import write_image
from logocap_jax.weights.files import load_weights

FINISH, PATH = "finish", "whole-path"
ADVICE = "a smaller --batch or --size lowers it, and so does --dtype bfloat16"
# Names of rows: from the arrays of a scene, and from images, to the answer.
AFTER_SCENE, PREDICT = "after-scene", "predict"
# Name of a boolean scalar: go on with the computed arrays, not with the scene's.
COMPUTED = "computed"

_INPUTS = tuple(View.__dataclass_fields__)

# By name: those of `Stage.reads` and `Stage.writes`.
Arrays = Mapping[str, Any]


class Piece(NamedTuple):
    """A part of inference that is compiled by itself, for one row."""

    name: str  #: of the row
    reads: tuple[str, ...]  #: names of the arrays that it takes
    writes: tuple[str, ...]  #: names of the arrays that it returns
    #: `(variables, arrays) -> arrays`.
    run: Callable[[Variables, Arrays], dict[str, Any]]
    by_people: bool = True  #: its time may depend on the number of people


def run(args: argparse.Namespace) -> int:
    """Measure inference; the exit code.

    Raises:
      ValueError: if the options make no sense together.
    """
    session = Session(args)
    config, options = session.config, session.options
    only, people = split(args.only, str), split(args.people, whole_number("--people"))
    settings = all_settings(args, config, batch=1, side=config.eval.short_side)
    shapes = jax.eval_shape(resolve(config).method.init, jax.random.key(0))
    variables = shapes if options.compile_only else fill(shapes)
    if args.weights is not None:
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

    return session.run(list(settings), measure, ADVICE)


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
    first = next(iter(starts.values()))
    pieces = needed_pieces(pieces, asked, first)
    device = options.device or jax.local_devices()[0]
    prepared = jax.eval_shape(run.method.prepare, variables)
    placed = formats(prepared, device)
    shapes = jax.tree.map(
        lambda leaf, place: leaf.update(sharding=place), prepared, placed
    )
    programs = _compile(options, pieces, shapes, first)
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
        for label, arrays in starts.items():
            start = Start(run, setting, programs, prepared, label, arrays)
            for call in _calls(start, pieces):
                calls.setdefault(call.row.name, call)
            if PATH in chosen:
                call = _whole_path(start, photographs)
                calls[call.row.name] = call
        return options.measure(
            [call for name, call in calls.items() if name.partition(",")[0] in chosen]
        )


def _make_starts(
    run: Run, setting: Setting, people: Sequence[int], share_canvases: bool
) -> tuple[tuple[str, ...], dict[str, Arrays]]:
    """Names of the arrays of a scene; the arrays to start from, by a row's ending."""
    batch, size = setting.batch, setting.size

    def stacked(array: np.ndarray) -> np.ndarray:
        return np.broadcast_to(array, (batch, *array.shape))

    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    sides = [[int(side * scale) for side in size] for scale in run.inputs.scales]
    inputs: dict[str, Any] = {
        "image": stacked(image),
        "valid_size": stacked(np.array(size, np.int32)) if share_canvases else None,
        "input_to_image": stacked(np.eye(2, 3, dtype=np.float32)),
        "scaled": tuple(stacked(np.zeros((*s, 3), np.uint8)) for s in sides),
    }
    spec, config = find_spec(run)
    scene = spec.scene(config)
    if scene is None:
        if people:
            raise ValueError(f"--people: got {people[0]}, but the method has no scenes")
        return (), {"": inputs}
    if people and max(people) > scene.most_people:
        raise ValueError(
            f"--people: got {max(people)}, expected at most the method's "
            f"{scene.most_people} slots"
        )
    starts: dict[str, Arrays] = {}
    for count in people or [scene.most_people]:
        drawn = scene.draw(count, size)
        arrays = {name: stacked(array) for name, array in drawn.items()}
        starts[f", {count} people"] = inputs | arrays | {COMPUTED: np.asarray(False)}
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


class Start(NamedTuple):
    """The programs of a setting, and the arrays that they start from."""

    run: Run  #: with the method
    setting: Setting  #: batch and size
    programs: Mapping[str, Program]  #: by the names of their pieces
    variables: Variables  #: prepared, on the device
    label: str  #: ending of the names of rows, such as `, 3 people`
    arrays: Arrays  #: inputs, and the arrays of a scene where the method has scenes

    def host_row(self, name: str, remark: str) -> Row:
        """Row of a call that is no program of the device alone."""
        setting = self.setting
        return Row(name + self.label, str(setting), setting.batch, remark=remark)


def _calls(start: Start, pieces: Sequence[Piece]) -> Iterator[TimedCall]:
    """Run the programs one after the other, each on the results of those before."""
    arrays, method = jax.device_put(dict(start.arrays)), start.run.method
    for piece in pieces:
        program = start.programs[piece.name]
        name = piece.name + (start.label if piece.by_people else "")
        taken = {key: arrays[key] for key in piece.reads}
        row = static_row(name, start.setting, program)
        call, results = run_first(row, program, start.variables, taken)
        arrays = results | arrays  # those of a scene stay
        # One behind the other, predictions would not be latencies.
        yield call._replace(queued=piece.name != PREDICT)
    if method.finish and PREDICT in arrays:
        outputs = jax.device_get(arrays[PREDICT])
        row = start.host_row(FINISH, "on the host")
        yield TimedCall(row, functools.partial(method.finish, outputs), False)


def _whole_path(start: Start, photographs: Sequence[Path]) -> TimedCall:
    """From JPEG files to poses in image px, as `Predictor` goes."""
    run, setting = start.run, start.setting
    arrays = jax.device_put(dict(start.arrays))
    program = start.programs[PREDICT]

    def predict(view: View) -> Any:
        return program.run(start.variables, {**arrays, **vars(view)})[PREDICT]

    height, width = setting.size
    predictor = Predictor(
        Model(
            predict,
            run.skeleton,
            lambda outputs: finish(run.method, outputs)[run.method.answer],
            inputs=run.inputs,
        ),
        letterbox((width, height)),
        canvas=None if arrays["valid_size"] is None else (lambda size: size),
        batch_size=setting.batch,
    )
    row = start.host_row(
        PATH, "with JPEG decoding, warping, transfer, and back to image px"
    )
    return TimedCall(row, lambda: predictor(photographs), queued=False)


def write_photographs(folder: Path, count: int, *, size: tuple[int, int]) -> list[Path]:
    """Write JPEG files of `(height, width)` px, drawn rooms without people."""
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        pixels = draw_background(rng, max(size))
        paths.append(folder / f"{number}.jpg")
        write_image(paths[-1], pixels[: size[0], : size[1]])
    return paths


def make_pieces(run: Run, scene_names: Collection[str]) -> list[Piece]:
    """The pieces of a run's method: its named stages, then all of it.

    `scene_names` are the arrays that a scene replaces; empty without scenes.
    """
    spec, config = find_spec(run)
    stages = spec.stages(config)
    pieces, of_scene = [], set(scene_names)
    for group in _groups(stages):
        reads: set[str] = set()
        for stage in reversed(group):
            slots = {VALID} if stage.per_slot else set()
            reads = (reads - {*stage.writes}) | {*stage.reads, *slots} - {SLOT_IMAGE}
        by_people = not of_scene.isdisjoint(reads)
        writes = group[-1].writes
        of_scene |= {*writes} if by_people else set()
        name = " to ".join(dict.fromkeys((group[0].name, group[-1].name)))
        run_group = functools.partial(_run_group, group)
        pieces.append(Piece(name, tuple(reads), writes, run_group, by_people))
    if not scene_names:
        whole = functools.partial(_predict, run)
        return [*pieces, Piece(PREDICT, _INPUTS, (PREDICT,), whole, by_people=False)]
    names = tuple(scene_names)
    after = functools.partial(_run_after, run, stages)
    whole = functools.partial(_predict_scene, run, stages, names)
    reads_all = (*_INPUTS, *names, COMPUTED)
    pieces.append(Piece(AFTER_SCENE, (*_INPUTS, *names), (AFTER_SCENE,), after))
    return [*pieces, Piece(PREDICT, reads_all, (PREDICT,), whole)]


def needed_pieces(
    pieces: Sequence[Piece], names: Collection[str], start: Collection[str]
) -> list[Piece]:
    """The pieces of these names, in order, and those whose arrays they take.

    `start` holds the names of the arrays that are there.
    """
    needed: list[Piece] = []
    missing: set[str] = set()
    for piece in reversed(pieces):
        if piece.name in names or not missing.isdisjoint(piece.writes):
            needed.insert(0, piece)
            missing = (missing - {*piece.writes}) | ({*piece.reads} - {*start})
    return needed


def find_spec(run: Run) -> tuple[MethodSpec, Any]:
    """The record of a run's method, and its config."""
    name = run.values["method"]["name"]
    return find_method(name), build_config(name, run.method_settings)


def _groups(stages: Sequence[Stage]) -> Iterator[tuple[Stage, ...]]:
    """Each stage by itself; after several stages of slots, these in one loop."""
    for per_slot, group in itertools.groupby(stages, key=lambda stage: stage.per_slot):
        members = tuple(group)
        yield from ((stage,) for stage in members)
        if per_slot and len(members) > 1:
            yield members


def _run_group(
    group: Sequence[Stage], variables: Variables, arrays: Arrays
) -> dict[str, Any]:
    return run_stages(group, variables, arrays, group[-1].writes)


def _predict(run: Run, variables: Variables, arrays: Arrays) -> dict[str, Any]:
    """From images to the answer."""
    outputs = run.method.predict(variables, View(*(arrays[name] for name in _INPUTS)))
    return {PREDICT: answer_of(run.method, outputs)}


def _run_after(
    run: Run, stages: Sequence[Stage], variables: Variables, arrays: Arrays
) -> dict[str, Any]:
    """From the arrays of a scene to the answer."""
    last = stages[-1].writes[0]
    outputs = run_stages(stages, variables, arrays, (last,))[last]
    return {AFTER_SCENE: answer_of(run.method, outputs)}


def _predict_scene(
    run: Run,
    stages: Sequence[Stage],
    scene_names: tuple[str, ...],
    variables: Variables,
    arrays: Arrays,
) -> dict[str, Any]:
    """From images to the answer, by way of the arrays of a scene.

    The compiler does not know which are chosen, so no part of either is left out.
    """
    inputs = {name: arrays[name] for name in _INPUTS}
    computed = run_stages(stages, variables, inputs, scene_names)

    chosen = jax.tree.map(
        lambda own, drawn: jnp.where(arrays[COMPUTED], own, drawn),
        computed,
        {name: arrays[name] for name in scene_names},
    )
    found = _run_after(run, stages, variables, {**inputs, **chosen})
    return {PREDICT: found[AFTER_SCENE]}
