"""What a pose-estimation method is to the rest: a record of pure functions."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float, Int, UInt8

from logocap_jax.structures import Batch, Poses

Variables = Mapping[str, Any]
"""`{"params": ..., "batch_stats": ...}`, nested dicts of float32 arrays."""


def part(variables: Variables, name: str) -> Variables:
    """One network's own variables, of a model that holds several by name."""
    return {collection: tree[name] for collection, tree in variables.items()}


class LossOutput(NamedTuple):
    """What a loss function returns.

    Attributes:
      loss: the scalar to minimise.
      metrics: scalars to log; averaged over nothing, as computed.
      batch_stats: batch statistics after the step.
    """

    loss: Float[Array, ""]
    metrics: dict[str, Float[Array, ""]]
    batch_stats: Mapping[str, Any]


@runtime_checkable
class InitFn(Protocol):
    """Make fresh variables."""

    def __call__(self, key: Array) -> Variables:
        """Make variables from a PRNG key."""


@runtime_checkable
class LossFn(Protocol):
    """The training loss of one batch."""

    def __call__(self, variables: Variables, batch: Batch) -> LossOutput:
        """Compute the loss; differentiable in `variables["params"]`."""


@runtime_checkable
class PredictFn(Protocol):
    """Test-time inference."""

    def __call__(
        self,
        variables: Variables,
        image: UInt8[Array, "B H W 3"],
        extent: Int[Array, "B 2"] | None = None,
    ) -> dict[str, Poses]:
        """Find the poses of input images, in input px; one entry per result set.

        Images of several sizes may share one input: `extent` is the height and width
        of each, multiples of 32; what lies outside changes nothing.
        """


@runtime_checkable
class EvaluateFn(Protocol):
    """Inference beside the ground truth."""

    def __call__(self, variables: Variables, batch: Batch) -> dict[str, Poses]:
        """As `predict`, and the result sets that need the ground truth."""


class Method(NamedTuple):
    """A method; training, evaluation and prediction know nothing else of it.

    All four functions are pure, take any batch size, and may be jitted; all result
    arrays have a fixed size with a `valid` mask.

    Attributes:
      init: makes variables.
      loss: training loss.
      predict: result sets by name, e.g. `{"initial": ..., "logocap": ...}`.
      evaluate: `predict`, plus sets that need the ground truth (`"bound"`).
      result: the name of the set that is the method's answer.
    """

    init: InitFn
    loss: LossFn
    predict: PredictFn
    evaluate: EvaluateFn
    result: str
