"""The parts of a method's inference that are measured, each a function of its own."""

import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from logocap_jax.experiment.run import Run
from logocap_jax.methods import build_config, find_method
from logocap_jax.methods.base import MethodSpec, Stage, Variables, answer_of
from logocap_jax.methods.stages import SLOT_IMAGE, VALID, run_stages
from logocap_jax.structures import View

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

    def choose(own: jax.Array, drawn: jax.Array) -> jax.Array:
        return jnp.where(arrays[COMPUTED], own, drawn)

    scene = {name: arrays[name] for name in scene_names}
    chosen = jax.tree.map(choose, computed, scene)
    found = _run_after(run, stages, variables, {**inputs, **chosen})
    return {PREDICT: found[AFTER_SCENE]}
