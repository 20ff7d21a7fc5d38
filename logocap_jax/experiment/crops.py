"""Runs of methods whose input is one person: their batches, and their results."""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from data_pipeline.feed.crops import train_crop
from data_pipeline.feed.eval_batches import EvalBatches, make_crop_batches
from data_pipeline.feed.examples import Example
from data_pipeline.read.people import PeopleSource, read_detections
from data_pipeline.read.records import ImageRecord
from data_pipeline.read.sources import Source
from logocap_jax.evaluation.people import merge_people
from logocap_jax.evaluation.runner import ResultSets
from logocap_jax.experiment.settings import DataSettings, EvalSettings
from logocap_jax.methods.base import InputSpec, PersonCrop
from logocap_jax.skeletons import Skeleton


def crop_maker(
    inputs: InputSpec, settings: DataSettings, skeleton: Skeleton
) -> Callable[[ImageRecord, np.random.Generator], Example] | None:
    """Makes the training crop of a person's record; None: inputs are photographs."""
    if inputs.crop is None:
        return None
    return functools.partial(
        train_crop,
        skeleton=skeleton,
        size=inputs.crop.size,
        padding=inputs.crop.padding,
        augmentation=settings.crop_augmentation,
    )


def crop_batches(
    source: Source, crop: PersonCrop, settings: EvalSettings
) -> EvalBatches:
    """Crops of all people of a source, of annotated or of detected boxes.

    Raises:
      ValueError: if a detections file is damaged, or there are no people.
    """
    file = settings.detections
    return make_crop_batches(
        PeopleSource(source, read_detections(Path(file)) if file else None),
        size=crop.size,
        padding=crop.padding,
        batch_size=settings.batch_size,
        host_index=jax.process_index(),
        num_hosts=jax.process_count(),
    )


def gather_people(
    sets: ResultSets, batches: EvalBatches, inputs: InputSpec, skeleton: Skeleton
) -> ResultSets:
    """Bring together the people of each image; of photographs nothing changes."""
    if inputs.crop is None:
        return sets
    assert isinstance(batches.source, PeopleSource)
    return {
        name: merge_people(
            people,
            batches.source.image_ids,
            sigmas=skeleton.sigma_array,
            threshold=inputs.crop.nms_threshold,
        )
        for name, people in sets.items()
    }
