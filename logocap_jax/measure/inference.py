"""Inference: each stage, all of it, and the way from JPEG files to poses."""

import copy
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from logocap_jax.experiment.run import resolve
from logocap_jax.geometry import STRIDE
from logocap_jax.measure.options import Setting
from logocap_jax.measure.programs import Program
from logocap_jax.measure.rows import Row
from logocap_jax.measure.runs import (
    Effort,
    Item,
    read_row,
    run_first,
)
from logocap_jax.measure.scenes import draw_maps, write_photographs
from logocap_jax.measure.stages import TO_POSES, Stage, make_stages
from logocap_jax.methods.base import Variables
from logocap_jax.models.placement import formats
from logocap_jax.predictor import Predictor
from logocap_jax.predictor.compiled import Model
from logocap_jax.predictor.inputs import letterbox
from logocap_jax.skeletons import Skeleton
from logocap_jax.structures import View

WHOLE_PATH = "whole-path"
ADVICE = "a smaller --batch or --size lowers it, and so does --dtype bfloat16"

_Programs = dict[str, Program]


def benchmark_inference(
    config: ConfigDict,
    setting: Setting,
    variables: Variables,
    *,
    people: Sequence[int],
    only: Collection[str],
    share_canvases: bool = False,
    effort: Effort,
) -> list[Row]:
    """Measure one setting.

    What follows the backbone goes on from maps made by hand (`scenes.draw_maps`), the
    same for all images of a batch: so the number of people is known.

    Args:
      config: its method is `logocap`.
      setting: what to measure at; its dtype counts, not the config's.
      variables: of the method, or their shapes where nothing is to run.
      people: numbers of people in an image; a set of rows each.
      only: names of rows; none: all.
      share_canvases: pass valid sizes, as `Predictor` does where inputs of many
        sizes share a canvas; they fill it all the same.
      effort: how often.

    Raises:
      DoesNotFitError: if the device has not enough memory.
      ValueError: if there is no such row, or no place for so many people.
    """
    config = copy.deepcopy(config)
    config.method.dtype = setting.dtype
    if max(people) > config.method.num_slots:
        raise ValueError(
            f"--people: got {max(people)}, expected at most "
            f"method.num_slots={config.method.num_slots}"
        )
    stages = make_stages(config)
    names = [stage.name for stage in stages] + [WHOLE_PATH]
    if unknown := sorted(set(only) - set(names)):
        raise ValueError(f"--only: got {unknown}, expected some of {','.join(names)}")
    chosen = frozenset(only or names)
    prepare = resolve(config).method.prepare
    device = effort.device or jax.local_devices()[0]
    prepared = jax.eval_shape(prepare, variables)
    placed = formats(prepared, device)
    whole = {
        "variables": jax.tree.map(_placed_shape, prepared, placed),
        "unfolded": variables,
        "own": np.asarray(False),
    }
    image = _image_values(config, setting, people[0], share_canvases)
    shapes = jax.tree.map(lambda x: _stacked_shape(x, setting.batch), image)
    programs = _compile(effort, _needed(stages, chosen), shapes | whole)
    if effort.compile_only:
        return [
            read_row(name, setting, program)
            for name, program in programs.items()
            if name in chosen
        ]
    whole["variables"] = jax.device_put(jax.jit(prepare)(variables), placed)
    whole = jax.device_put(whole)
    items: dict[str, Item] = {}
    with tempfile.TemporaryDirectory() as folder:
        photographs = write_photographs(Path(folder), setting.batch, size=setting.size)
        for count in people:
            image = _image_values(config, setting, count, share_canvases)
            stacked = jax.tree.map(lambda x: np.stack([x] * setting.batch), image)
            values = jax.device_put(stacked) | whole
            found = list(_run(stages, programs, values, setting, count))
            if WHOLE_PATH in chosen:
                program = programs[TO_POSES]
                skeleton = resolve(config).skeleton
                found.append(
                    _whole_path(
                        *(program, values, setting, count, photographs, skeleton),
                        share_canvases,
                    )
                )
            for item in found:
                items.setdefault(item.row.name, item)
        wanted = [item for name, item in items.items() if _stage_name(name) in chosen]
        return effort.measure(wanted, setting.dtype)


def _image_values(
    config: ConfigDict, setting: Setting, people: int, share_canvases: bool
) -> dict[str, Any]:
    """What the first stages take of each image, as NumPy's arrays."""
    height, width = setting.size
    return {
        "image": np.random.default_rng(0).integers(
            0, 255, (*setting.size, 3), np.uint8
        ),
        "valid_size": np.asarray(setting.size, np.int32) if share_canvases else None,
        "maps": draw_maps(
            people,
            height=height // STRIDE,
            width=width // STRIDE,
            num_keypoints=resolve(config).skeleton.num_keypoints,
            embedding=config.method.embedding,
        ),
    }


def _needed(stages: Sequence[Stage], chosen: Collection[str]) -> list[Stage]:
    """The chosen stages, and those whose results they take."""
    needed: list[Stage] = []
    values: set[str] = set()
    for stage in reversed(stages):
        asked = stage.name in chosen or (
            stage.name == TO_POSES and WHOLE_PATH in chosen
        )
        if asked or stage.gives in values:
            needed.insert(0, stage)
            values |= set(stage.takes)
    return needed


def _compile(
    effort: Effort, stages: Sequence[Stage], start: dict[str, Any]
) -> _Programs:
    values, programs = dict(start), {}
    for stage in stages:
        taken = [values[name] for name in stage.takes]
        programs[stage.name] = effort.compile(stage.name, stage.function, *taken)
        values[stage.gives] = jax.eval_shape(stage.function, *taken)
    return programs


def _run(
    stages: Sequence[Stage],
    programs: _Programs,
    start: dict[str, Any],
    setting: Setting,
    people: int,
) -> Iterator[Item]:
    """Run the programs one after the other, each on what those before it gave."""
    values = dict(start)
    for stage in stages:
        if stage.name not in programs:
            continue
        name = f"{stage.name}, {people} people" if stage.counts_people else stage.name
        taken = [values[key] for key in stage.takes]
        item, values[stage.gives] = run_first(
            name, setting, programs[stage.name], *taken
        )
        # One behind the other, these would not be latencies.
        yield item._replace(queued=stage.name != TO_POSES)


def _whole_path(
    program: Program,
    values: dict[str, Any],
    setting: Setting,
    people: int,
    photographs: Sequence[Path],
    skeleton: Skeleton,
    share_canvases: bool,
) -> Item:
    """From JPEG files to poses in image px, as `Predictor` goes."""
    variables, maps, own = values["variables"], values["maps"], values["own"]

    def predict(view: View) -> Any:
        return program.run(variables, view.image, view.valid_size, maps, own)

    height, width = setting.size
    predictor = Predictor(
        Model(predict, skeleton),
        letterbox((width, height)),
        canvas=(lambda size: size) if share_canvases else None,
        batch_size=setting.batch,
    )
    row = Row(
        f"{WHOLE_PATH}, {people} people",
        str(setting),
        setting.batch,
        remark="with JPEG decoding, warping, transfer, and back to image px",
    )
    return Item(row, lambda: predictor(photographs), queued=False)


def _placed_shape(array: Any, placed: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=placed)


def _stacked_shape(array: np.ndarray, count: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((count, *array.shape), array.dtype)


def _stage_name(row_name: str) -> str:
    return row_name.partition(",")[0]
