"""What becomes of records that turn unreadable while a run is under way."""

import logging
from collections.abc import Callable

import numpy as np

from data_pipeline.feed.examples import Example
from data_pipeline.read.records import ImageRecord
from data_pipeline.read.sources import Source

_LOG = logging.getLogger(__name__)


class Substituting:
    """Makes examples of positions; a bad record gives way to the next good one.

    Which one that is depends on the position and on the disk alone: not on what was
    read before, so neither workers nor restarts change a batch. Bad records are
    counted by position, each once, in each process by itself.
    """

    def __init__(
        self,
        source: Source,
        make_example: Callable[[ImageRecord, np.random.Generator], Example],
        *,
        max_bad: int,
    ) -> None:
        """Set up.

        Args:
          source: records.
          make_example: what to make of a record; `ValueError` if it is bad.
          max_bad: bad records to put up with; 0: none.
        """
        self._source = source
        self._make_example = make_example
        self._max_bad = max_bad
        self._bad: dict[int, object] = {}

    def __call__(self, position: int, rng: np.random.Generator) -> Example:
        """Make the example of a record, or of the next good one, in cyclic order.

        Raises:
          ValueError: if there are more bad records than may be, or no good one.
        """
        count = len(self._source)
        for candidate in range(position, position + count):
            try:
                return self._make_example(self._source[candidate % count], rng)
            except ValueError as error:
                if self._max_bad == 0:
                    raise
                self._note(candidate % count, error)
        raise ValueError(f"got {count} bad records, expected a good one among them")

    def _note(self, position: int, error: ValueError) -> None:
        mine = object()
        # Threads share this: one of them is first to set it.
        is_new = self._bad.setdefault(position, mine) is mine
        count = len(self._bad)
        if count > self._max_bad:
            raise ValueError(
                f"got {count} bad records, expected at most {self._max_bad} "
                f"(max_bad_records), the last one: {error}"
            ) from error
        if is_new:
            _LOG.warning(
                "bad record %d, of %d that may be; others take its place: %s",
                *(count, self._max_bad, error),
            )
