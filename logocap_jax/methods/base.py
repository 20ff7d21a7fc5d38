"""The seam: all that the rest of the project knows of a method."""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float

from logocap_jax.geometry import CellRule
from logocap_jax.structures import Batch, Poses, View

Variables = Mapping[str, Any]
"""`{"params": ..., "batch_stats": ...}`, nested dicts of float32 arrays."""

Outputs = Any
"""Poses by the name of their result set; with a step on the host, any arrays."""

# Metadata of a config's field: weights do not depend on it, so that a run may be
# continued and evaluated with another value.
TEST_TIME = {"test_time": True}
# Metadata of a config's field: it changes memory and time only.
FREE = {"free": True}


def subtree(variables: Variables, name: str) -> Variables:
    """The variables of one network of a model that holds several by name."""
    return {collection: tree[name] for collection, tree in variables.items()}


class LossOutput(NamedTuple):
    """The result of a loss function.

    Attributes:
      loss: the scalar to minimise.
      terms: scalars to log as `loss/NAME`; averaged over the parts of a batch.
      counts: scalars to log as `count/NAME`; summed over the parts of a batch.
      batch_stats: batch statistics after the step.
    """

    loss: Float[Array, ""]
    terms: dict[str, Array]
    counts: dict[str, Array]
    batch_stats: Mapping[str, Any]


@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MapLayer:
    """Dense maps to draw over the image.

    Attributes:
      values: one map per channel, in cells.
      names: one name per channel.
      cells: where a cell lies in the input.
    """

    values: Float[Array, "B h w C"]
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    cells: CellRule = dataclasses.field(metadata={"static": True})


@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PatchLayer:
    """Small maps around the initial keypoints of poses, to draw on the image.

    Attributes:
      values: 0..1, in the order of the answer's slots; axis 2 runs along y.
      radius: reach of a patch from its middle along x and y, input px, per keypoint.
    """

    values: Float[Array, "B N E E K"]
    radius: tuple[float, ...] = dataclasses.field(metadata={"static": True})


@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PointLayer:
    """Places that keypoints of poses were computed from, to draw on the image.

    Attributes:
      points: input px, in the order of the answer's slots.
      middles: of the poses, whose features the points lie around, input px.
    """

    points: Float[Array, "B N K S 2"]
    middles: Float[Array, "B N 2"]


Layer = MapLayer | PatchLayer | PointLayer


class Explanation(NamedTuple):
    """A method's answer to a batch, and the maps behind it.

    Attributes:
      outputs: as of `predict`; holds the answer at least.
      layers: maps by name.
    """

    outputs: Outputs
    layers: Mapping[str, Layer]


@runtime_checkable
class InitFn(Protocol):
    """Make fresh variables."""

    def __call__(self, key: Array) -> Variables:
        """Make variables from a PRNG key."""


@runtime_checkable
class PrepareFn(Protocol):
    """Optional one-off preprocessing of variables for faster inference."""

    def __call__(self, variables: Variables) -> Variables:
        """Do once what each call would do; preparing twice changes nothing."""


@runtime_checkable
class LossFn(Protocol):
    """The training loss of one batch."""

    def __call__(self, variables: Variables, batch: Any, key: Array) -> LossOutput:
        """Compute the loss; differentiable in `variables["params"]`.

        The batch is a `Batch`, in a stage that learns from poses `LabelledPoses`.
        """


@runtime_checkable
class PredictFn(Protocol):
    """Test-time inference."""

    def __call__(self, variables: Variables, view: View) -> Outputs:
        """Find the poses of input images, in input px; one entry per result set."""


@runtime_checkable
class EvaluateFn(Protocol):
    """Inference beside the ground truth."""

    def __call__(self, variables: Variables, batch: Batch) -> Outputs:
        """As `predict`, and the result sets that need the ground truth."""


@runtime_checkable
class ExplainFn(Protocol):
    """Test-time inference that keeps its maps."""

    def __call__(self, variables: Variables, view: View) -> Explanation:
        """As `predict`, the method's answer alone, together with the maps."""


class Part(NamedTuple):
    """A part of a model that training treats differently.

    Attributes:
      name: of the part.
      paths: its subtrees of the parameters, such as `dense/backbone`.
      rate: factor of the learning rate; 0: frozen.
      warmup: epochs over which its rate rises from 0.
      frozen_norms: its running statistics stay; its loss must not use those of the
        batch.
      optional: some settings leave it out; weights that hold it all the same fit.
    """

    name: str
    paths: tuple[str, ...]
    rate: float = 1.0
    warmup: float = 0.0
    frozen_norms: bool = False
    optional: bool = False


class TrainStage(NamedTuple):
    """One stage of training.

    Attributes:
      loss: its loss.
      trains: names of the parts that learn; empty: all.
      learns_from: the method whose answers on the training images it learns from, with
        some of this method's variables: batches are `LabelledPoses`. None: it learns
        from the images.
    """

    loss: LossFn
    trains: tuple[str, ...] = ()
    learns_from: "Method | None" = None


class PersonCrop(NamedTuple):
    """One input is one person: the part of an image around its box.

    Attributes:
      size: width and height of the input, px.
      padding: the part is so many times as large as the box, before its shorter side is
        enlarged to the input's aspect.
      nms_threshold: of the people of an image, those with a larger OKS to a better one
        are left out.
    """

    size: tuple[int, int]
    padding: float
    nms_threshold: float


class InputSpec(NamedTuple):
    """The input that a method needs.

    Attributes:
      mask_strides: strides of the loss masks of a batch, input px.
      person_size: how people are measured for `Batch.size`: `area`, as annotated; `box`
        (its area); `extent` (squared diagonal of the labelled keypoints' box); `origin`
        (squared distance of that box's far corner from the image's origin).
      multiple: both sides of an input at test time are multiples of it, px.
      rounding: of sizes and middles of images at test time, `half up`, `half even` or
        `none`; see `data_pipeline.feed.affine.eval_affine`.
      shares_canvases: `predict` takes images smaller than their array.
      scales: further scales of the input at test time, each warped from the photograph;
        `multiple` times each is whole.
      crop: one input is one person; None: a whole photograph.
    """

    mask_strides: tuple[int, ...] = (4,)
    person_size: str = "area"
    multiple: int = 64
    rounding: str = "half up"
    shares_canvases: bool = True
    scales: tuple[int | float, ...] = ()
    crop: PersonCrop | None = None


class Stage(NamedTuple):
    """One named step of inference; parity and benchmark walk them.

    Attributes:
      name: of the stage.
      reads: names of the arrays that it takes, in order.
      writes: names of the arrays that it returns, in order.
      run: `(variables, *arrays) -> arrays`, pure, batch axis first.
      per_slot: 0: of images. More: of pose slots, so many per image in each step of
        the loop that `stages.run_stages` runs over them. `run` then takes and returns
        arrays `[S, ...]`, one row per slot.
      whole: of a stage of slots, the arrays of `reads` that are of images all the same,
        `[B, ...]`; the array `stages.SLOT_IMAGE`, int32 `[S]`, tells a slot's image.
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    run: Callable[..., tuple[Any, ...]]
    per_slot: int = 0
    whole: tuple[str, ...] = ()


class Scene(NamedTuple):
    """Arrays of a chosen number of people, to measure what depends on it.

    Attributes:
      most_people: the largest number of people that poses are found for.
      draw: people, `(height, width)` of the input, px -> arrays of one image, which
        replace those that stages write under the same names.
    """

    most_people: int
    draw: Callable[[int, tuple[int, int]], dict[str, Any]]


class Method(NamedTuple):
    """A method: a record of pure functions.

    All functions but `finish` may be jitted; those of images take any batch size, and
    the arrays they return have a fixed size with a `valid` mask.

    Attributes:
      init: makes variables.
      prepare: makes variables ready for many calls at test time.
      loss: training loss.
      predict: result sets by name.
      evaluate: `predict`, and sets that need the ground truth.
      explain: the answer, and the maps behind it.
      answer: name of the set that is the method's answer.
      oracles: names of the sets that are made with the ground truth.
      finish: step on the host: outputs in NumPy -> result sets; None: outputs are
        result sets already.
      parts: parts that training treats differently.
      stages: further stages of training by name; `main` is `loss`, all parts learning.
    """

    init: InitFn
    prepare: PrepareFn
    loss: LossFn
    predict: PredictFn
    evaluate: EvaluateFn
    explain: ExplainFn
    answer: str
    oracles: frozenset[str] = frozenset()
    finish: Callable[[Outputs], dict[str, Poses]] | None = None
    parts: tuple[Part, ...] = ()
    stages: Mapping[str, TrainStage] = {}

    def train_stage(self, name: str) -> TrainStage:
        """The stage of training of that name.

        Raises:
          ValueError: if there is no such stage.
        """
        stages = {"main": TrainStage(self.loss), **self.stages}
        if name not in stages:
            raise ValueError(f"got stage {name!r}, expected one of {sorted(stages)}")
        return stages[name]


class MethodSpec(NamedTuple):
    """A method before it is built: `SPEC` of the module `spec` in its package.

    Attributes:
      config: dataclass of its settings; has `skeleton` and `dtype`. Metadata of a
        field: `TEST_TIME`, `FREE`.
      make: builds the method.
      tiny: settings of its smallest net.
      inputs: the input that it needs.
      stages: its named stages at test time.
      dense: names of the stages' arrays that an export of dense maps holds; empty: the
        map layers of `explain`.
      scene: its scenes, if it has any; the last stage's first array is `predict`'s
        outputs then.
      stage_settings: settings of a run, by name, that each further stage of training
        brings with it; those of the method as `method.NAME`.
    """

    config: type
    make: Callable[[Any], Method]
    tiny: Mapping[str, Any]
    inputs: Callable[[Any], InputSpec] = lambda config: InputSpec()
    stages: Callable[[Any], tuple[Stage, ...]] = lambda config: ()
    dense: tuple[str, ...] = ()
    scene: Callable[[Any], Scene | None] = lambda config: None
    stage_settings: Mapping[str, Mapping[str, Any]] = {}


def answer_of(method: Method, outputs: Outputs) -> Outputs:
    """The part of `predict`'s outputs that the method's answer needs."""
    return outputs if method.finish else {method.answer: outputs[method.answer]}


def finish(method: Method, outputs: Outputs) -> dict[str, Poses]:
    """Result sets from outputs on the host."""
    return method.finish(outputs) if method.finish else outputs
