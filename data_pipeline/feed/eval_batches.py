"""Test images in batches of few sizes: each size is compiled for once."""

import collections
import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from data_pipeline.feed.affine import eval_input_size
from data_pipeline.feed.crops import eval_crop
from data_pipeline.feed.examples import (
    MIN_CENTER_AREA,
    Example,
    eval_example,
    stack_examples,
)
from data_pipeline.feed.loss_masks import MASK_STRIDES
from data_pipeline.read.people import PeopleSource
from data_pipeline.read.records import ImageRecord
from data_pipeline.read.sources import Source, check_share


@dataclasses.dataclass(frozen=True)
class EvalBatches:
    """Batches of a source, in a fixed order, as often as it is iterated."""

    source: Source  #: records
    #: For each batch the positions of its images in `source`; negative numbers are
    #: padding (`~position` of the image that is repeated).
    batches: Sequence[tuple[int, ...]]
    load: Callable[[ImageRecord], Example]  #: makes the example of a record
    num_threads: int  #: threads that decode ahead

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Example]:
        """Yield the arrays of `examples.eval_example` with a batch axis in front.

        And `valid` bool [B], false for padding.

        Raises:
          ValueError: if an image is unreadable; names it.
        """
        ahead: collections.deque[list[concurrent.futures.Future[Example]]]
        ahead = collections.deque()
        pool = concurrent.futures.ThreadPoolExecutor(self.num_threads)
        try:
            for batch in self.batches:
                ahead.append([pool.submit(self._load, position) for position in batch])
                if len(ahead) > 2:
                    yield _stacked(ahead.popleft())
            while ahead:
                yield _stacked(ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _load(self, position: int) -> Example:
        place = position if position >= 0 else ~position
        example = self.load(self.source[place])
        if isinstance(self.source, PeopleSource):
            example["box_score"] = np.float32(self.source.scores[place])
        return example | {"valid": np.asarray(position >= 0)}


def make_eval_batches(
    source: Source,
    *,
    short_side: int,
    batch_size: int,
    max_people: int = 30,
    multiple: int = 64,
    rounding: str = "half up",
    mask_strides: tuple[int, ...] = MASK_STRIDES,
    person_size: str = "area",
    min_center_area: float = MIN_CENTER_AREA,
    scales: tuple[int | float, ...] = (),
    num_threads: int = 4,
    host_index: int = 0,
    num_hosts: int = 1,
) -> EvalBatches:
    """Group the images of a source by input size into batches.

    The short side of an input is `short_side`, input px, rounded up; both sides are
    multiples of `multiple`; `rounding` is as in `eval_affine`. Sizes come in ascending
    order, images of a size in the order of the source. The last batch of a size is
    padded by repeating its last image. Each host gets its share of every batch, so that
    all hosts take the same steps. Images are warped for each of the further `scales` as
    well; `multiple` times a scale is whole. All else is as in `make_train_dataset`.

    Raises:
      ValueError: if the source is empty, a number makes no sense, or an image is so
        narrow that its input would be huge.
    """
    check_share(source, batch_size, host_index, num_hosts)
    if short_side <= 0:
        raise ValueError(f"got short_side={short_side}, expected a positive number")
    input_size = functools.partial(
        eval_input_size, short_side=short_side, multiple=multiple, rounding=rounding
    )
    groups = collections.defaultdict(list)
    for position, size in enumerate(source.sizes):
        try:
            groups[input_size(size)].append(position)
        except ValueError as error:
            raise ValueError(f"{source[position].name}: {error}") from error
    batches = [
        batch
        for _, group in sorted(groups.items())
        for batch in _split(group, batch_size, host_index, num_hosts)
    ]
    load = functools.partial(
        eval_example,
        short_side=short_side,
        max_people=max_people,
        multiple=multiple,
        rounding=rounding,
        mask_strides=mask_strides,
        person_size=person_size,
        min_center_area=min_center_area,
        scales=scales,
    )
    return EvalBatches(source, batches, load, num_threads)


def make_crop_batches(
    source: PeopleSource,
    *,
    size: tuple[int, int],
    padding: float,
    batch_size: int,
    num_threads: int = 4,
    host_index: int = 0,
    num_hosts: int = 1,
) -> EvalBatches:
    """Crops of all people of a source, in its order, in batches.

    Arrays are those of `crops.eval_crop`, and `box_score` [B]; `size` is the crop's
    `(width, height)`, `padding` its size over the box. All else is as in
    `make_eval_batches`.

    Raises:
      ValueError: if the source has no people, or a number makes no sense.
    """
    check_share(source, batch_size, host_index, num_hosts)
    load = functools.partial(eval_crop, size=size, padding=padding)
    places = [*range(len(source))]
    batches = _split(places, batch_size, host_index, num_hosts)
    return EvalBatches(source, batches, load, num_threads)


def _split(
    positions: Sequence[int], batch_size: int, host_index: int, num_hosts: int
) -> list[tuple[int, ...]]:
    """One host's share of the batches of some positions, the last one padded."""
    # As devices hold a batch: first those of host 0. So an image has the same
    # neighbours on its device, and the same bits, on any number of hosts.
    per_host = batch_size // num_hosts
    share = slice(host_index * per_host, (host_index + 1) * per_host)
    padding = [~positions[-1]] * (-len(positions) % batch_size)
    padded = (*positions, *padding)
    return [
        padded[start : start + batch_size][share]
        for start in range(0, len(padded), batch_size)
    ]


def _stacked(futures: list[concurrent.futures.Future[Example]]) -> Example:
    return stack_examples([future.result() for future in futures])
