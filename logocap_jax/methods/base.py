"""What a pose-estimation method is to the rest: a record of pure functions."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Int, Num, UInt8

from logocap_jax.structures import Batch, Poses

Variables = Mapping[str, Any]
"""`{"params": ..., "batch_stats": ...}`, nested dicts of float32 arrays."""


def part(variables: Variables, name: str) -> Variables:
    """One network's own variables, of a model that holds several by name."""
    return {collection: tree[name] for collection, tree in variables.items()}


class LossOutput(NamedTuple):
    """Result of a loss function.

    Attributes:
      loss: the scalar to minimise.
      terms: scalars to log; means over the parts where gradients are accumulated.
      counts: scalars to log; sums over the parts where gradients are accumulated.
      batch_stats: batch statistics after the step.
    """

    loss: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]
    counts: dict[str, Num[Array, ""]]
    batch_stats: Mapping[str, Any]


class Explanation(NamedTuple):
    """A method's answer to a batch, and the maps that it comes from.

    Attributes:
      poses: after pose NMS, input px.
      heatmaps: K keypoint heatmaps and, last, the pose-centre heatmap, in cells.
      kam: local attraction maps of the poses, slot by slot, 0..1; axis 2 runs along y.
        None: the method has none.
    """

    poses: Poses
    heatmaps: Float[Array, "B h w K1"]
    kam: Float[Array, "B N E E K"] | None = None


@runtime_checkable
class InitFn(Protocol):
    """Make fresh variables."""

    def __call__(self, key: Array) -> Variables:
        """Make variables from a PRNG key."""


@runtime_checkable
class PrepareFn(Protocol):
    """Make variables ready for many calls at test time."""

    def __call__(self, variables: Variables) -> Variables:
        """Do once what each call would do; preparing once more changes nothing."""


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
        valid_size: Int[Array, "B 2"] | None = None,
    ) -> dict[str, Poses]:
        """Find the poses of input images, in input px; one entry per result set.

        Images of several sizes may share one input: `valid_size` holds height and width
        of each, multiples of 32; what lies outside changes nothing.
        """


@runtime_checkable
class EvaluateFn(Protocol):
    """Inference beside the ground truth."""

    def __call__(self, variables: Variables, batch: Batch) -> dict[str, Poses]:
        """As `predict`, and the result sets that need the ground truth."""


@runtime_checkable
class ExplainFn(Protocol):
    """Test-time inference that keeps its maps."""

    def __call__(
        self,
        variables: Variables,
        image: UInt8[Array, "B H W 3"],
        valid_size: Int[Array, "B 2"] | None = None,
    ) -> Explanation:
        """As `predict`, the method's answer alone, together with the maps."""


class Method(NamedTuple):
    """A method; training, evaluation and prediction know nothing else of it.

    All functions are pure and may be jitted; those of images take any batch size, and
    their result arrays have a fixed size with a `valid` mask.

    Attributes:
      init: makes variables.
      prepare: what the functions at test time take as well as variables, and run faster
        with.
      loss: training loss.
      predict: result sets by name, e.g. `{"initial": ..., "logocap": ...}`.
      evaluate: `predict`, plus sets that need the ground truth (`"bound"`).
      explain: the answer, and the maps that it comes from.
      result: the name of the set that is the method's answer.
      kam_radius: how far local attraction maps reach from the initial keypoint in
        their middle, along x and y, input px; None: the method has none.
    """

    init: InitFn
    prepare: PrepareFn
    loss: LossFn
    predict: PredictFn
    evaluate: EvaluateFn
    explain: ExplainFn
    result: str
    kam_radius: Float[np.ndarray, " K"] | None = None
