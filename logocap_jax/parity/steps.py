"""Training steps: losses, gradients, statistics and parameters."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from logocap_jax.methods.base import LossFn, Variables
from logocap_jax.parity.compare import Comparison, largest_errors
from logocap_jax.parity.layout import Arrays
from logocap_jax.structures import Batch
from logocap_jax.training.optim import make_optimizer
from logocap_jax.weights.files import to_state_dict

LEARNING_RATE = 1e-3

_FIRST, _LATER = 1e-5, 1e-2  # losses, relative
_STATISTICS = 1e-5
_GRADIENT_MEDIAN, _GRADIENT_WORST = 1e-4, 5e-3
_ROUNDINGS = 6
# Adam's first steps amplify float noise: the reference's own gradients are up to 2e-3
# off float64's. Three steps leave statistics below 1e-4 apart on one processor, 4e-4 on
# another (without AVX-512).
_STATISTICS_LATER, _CHANGE = 1e-3, 1e-2


class Step(NamedTuple):
    """One step's outcome.

    Attributes:
      losses: the weighted terms.
      grads: of every parameter.
      variables: after the step.
      opt_state: after the step.
    """

    losses: Float[Array, " L"]
    grads: Any
    variables: Variables
    opt_state: Any


class Stepper:
    """Takes steps of a loss; compiled once per shape.

    Attributes:
      terms: the loss's, in the order of a case's `losses`, and their names in the
        table.
      optimizer: Adam at the case's learning rate.
      step: variables, optimizer state, batch -> `Step`.
    """

    def __init__(
        self,
        loss: LossFn,
        terms: Mapping[str, str],
        *,
        learning_rate: float = LEARNING_RATE,
    ) -> None:
        """Compile nothing yet."""
        self.terms = terms
        self.optimizer = make_optimizer(optax.constant_schedule(learning_rate))
        self.step = jax.jit(functools.partial(_step, loss, self.optimizer, terms))


def _step(loss, optimizer, terms, variables: Variables, opt_state, batch) -> Step:
    def loss_fn(params):
        output = loss({**variables, "params": params}, batch, jax.random.key(0))
        return output.loss, output

    params = variables["params"]
    grads, output = jax.grad(loss_fn, has_aux=True)(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    updated = {
        "params": optax.apply_updates(params, updates),
        "batch_stats": output.batch_stats,
    }
    losses = jnp.stack([output.terms[name] for name in terms])
    return Step(losses, grads, updated, opt_state)


def check_steps(
    compare: Comparison,
    arrays: Arrays,
    stepper: Stepper,
    variables: Variables,
    batch: Batch,
    *,
    later: int = 2,
) -> None:
    """Take the Adam steps of the case, and compare their results.

    Args:
      compare: takes the results.
      arrays: of the case.
      stepper: of the model's loss.
      variables: before the first step.
      batch: the case's.
      later: the first so many terms, which depend on no discrete choice, are compared
        after the first step too.
    """
    terms = tuple(stepper.terms.values())
    opt_state = stepper.optimizer.init(variables["params"])
    before, after_steps = variables, []
    for number, expected in enumerate(arrays["losses"], start=1):
        outcome = stepper.step(variables, opt_state, batch)
        shown = terms if number == 1 else terms[:later]
        _check_losses(compare, np.asarray(outcome.losses), expected, shown, number)
        if number == 1:
            roundings = _roundings(stepper, variables, batch, outcome.grads)
            _check_gradients(compare, arrays, roundings)
        variables, opt_state = outcome.variables, outcome.opt_state
        after_steps.append(variables)
    _check_statistics(compare, arrays, after_steps)
    _check_change(compare, arrays, before, variables)


def _check_losses(
    compare: Comparison,
    found: np.ndarray,
    expected: np.ndarray,
    terms: Sequence[str],
    number: int,
) -> None:
    """The first terms of a step."""
    tolerance = _FIRST if number == 1 else _LATER
    for i, term in enumerate(terms):
        compare.relative(
            f"{term} loss, step {number}",
            found[i : i + 1],
            expected[i : i + 1],
            tolerance=tolerance,
            fed_with="batch",
        )


def _check_gradients(
    compare: Comparison, arrays: Arrays, roundings: Iterable[tuple[str, Variables]]
) -> None:
    """Relative L2 error of every parameter's gradient.

    Where a ReLU, or a sampling position, is at its kink within float noise, each
    program takes one side or the other. So where an error is too large, the gradients
    at parameters one rounding step away are compared as well: the nearest count.

    Args:
      compare: takes the results.
      arrays: of the case.
      roundings: gradients, best first, and the remark to make of each.
    """
    if not _under(arrays, "grad/"):
        return
    errors, note, largest = dict[str, float](), "", np.inf
    for remark, grads in roundings:
        candidate = _gradient_errors(arrays, grads)
        if not errors or max(candidate.values()) < largest:
            errors, note, largest = candidate, remark, max(candidate.values())
        if largest <= _GRADIENT_WORST:
            break
    worst = max(errors, key=errors.__getitem__)
    shape = np.empty(len(errors))
    median = float(np.median(np.array([*errors.values()])))
    for stage, error, limit, remark in (
        ("gradients, median", median, _GRADIENT_MEDIAN, note),
        ("gradients, worst", largest, _GRADIENT_WORST, worst),
    ):
        compare.add(
            stage,
            shape,
            (error, np.nan),
            f"{limit:.0e} of the L2 norm",
            error <= limit,
            "batch",
            note=remark,
        )


def _roundings(
    stepper: Stepper, variables: Variables, batch: Batch, grads: Variables
) -> Iterator[tuple[str, Variables]]:
    """Gradients, and those at parameters that are each one rounding step away."""
    yield "", grads
    rng = np.random.default_rng(0)
    opt_state = stepper.optimizer.init(variables["params"])
    for trial in range(1, _ROUNDINGS + 1):
        nudged = jax.tree.map(
            lambda leaf: np.nextafter(
                leaf, rng.choice([-np.inf, np.inf], leaf.shape).astype(leaf.dtype)
            ),
            jax.device_get(variables["params"]),
        )
        outcome = stepper.step({**variables, "params": nudged}, opt_state, batch)
        yield f"at rounding {trial} of the parameters", outcome.grads


def _gradient_errors(arrays: Arrays, grads: Variables) -> dict[str, float]:
    found = _parameters(arrays, grads)
    # A parameter that the reference lists as without gradient must have none here.
    wanted = _under(arrays, "grad/") | {
        str(key): np.zeros_like(found[str(key)])
        for key in arrays.get("grad_none", ())
        if str(key) in found
    }
    nothing = np.empty(0)
    return {
        key: _relative_l2(found.get(key, nothing), wanted.get(key, nothing))
        for key in sorted(found.keys() | wanted.keys())
    }


def _check_statistics(
    compare: Comparison, arrays: Arrays, after_steps: Sequence[Variables]
) -> None:
    """The array of batch statistics that is farthest off.

    `bn1/` should be those after the first step. A dump that does not copy PyTorch's
    buffers, which later steps write to, holds those after the last step instead (the
    published cases do); the nearer ones are compared, and the stage says which.
    """
    expected = _under(arrays, "bn1/")
    if not expected:
        return
    last = len(after_steps)
    candidates = {1: _STATISTICS, last: _STATISTICS if last == 1 else _STATISTICS_LATER}
    errors = {
        step: _worst(_by_torch_key(after_steps[step - 1]), expected)
        for step in candidates
    }
    step = min(errors, key=lambda number: errors[number][0])
    relative, absolute, key = errors[step]
    compare.add(
        f"batch statistics, step {step}",
        np.empty(len(expected)),
        (relative, absolute),
        f"{candidates[step]:.0e} of largest",
        relative <= candidates[step],
        "batch",
        note=key,
    )


def _worst(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> tuple[float, float, str]:
    """Relative and absolute error, and name, of the array that is farthest off."""
    errors = []
    for key, array in expected.items():
        absolute, relative = largest_errors(found.get(key, np.empty(0)), array)
        errors.append((relative, absolute, key))
    return max(errors)


def _check_change(
    compare: Comparison, arrays: Arrays, before: Variables, after: Variables
) -> None:
    """How all parameters changed, as one vector, or how far each is from its start.

    Adam moves each parameter by about the learning rate whatever its gradient, so
    where gradients are float noise the directions are too.
    """
    expected = _under(arrays, "after/")
    start = _parameters(arrays, before["params"])
    end = _parameters(arrays, after["params"])
    if expected:
        missing = sorted(start.keys() - expected.keys())
        if missing:
            raise ValueError(f"'after/' lacks {missing[0]!r}")
        found = np.concatenate([(end[key] - start[key]).ravel() for key in start])
        wanted = np.concatenate([(expected[key] - start[key]).ravel() for key in start])
    elif "after_change_norm" in arrays:
        found = np.array([np.linalg.norm(end[key] - start[key]) for key in start])
        wanted = arrays["after_change_norm"]
    else:
        return
    error = _relative_l2(found, wanted)
    compare.add(
        f"change in {len(arrays['losses'])} steps",
        wanted,
        (error, float(np.abs(found - wanted).max())),
        f"{_CHANGE:.0e} of the L2 norm",
        error <= _CHANGE,
        "batch",
    )


def _under(arrays: Arrays, prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix) and not name.endswith("num_batches_tracked")
    }


def _parameters(arrays: Arrays, params: Variables) -> dict[str, np.ndarray]:
    """Arrays by PyTorch key: the case's `parameter_names` in their order, or all.

    A tensor of several keys is a parameter by its first alone.
    """
    found = _by_torch_key({"params": params})
    names = map(str, arrays.get("parameter_names", found))
    return {name: found[name] for name in names if name in found}


def _relative_l2(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return np.inf
    error, norm = np.linalg.norm(found - expected), np.linalg.norm(expected)
    return float(error / norm) if norm else (np.inf if error else 0.0)


def _by_torch_key(variables: Variables) -> dict[str, np.ndarray]:
    return to_state_dict(jax.device_get(variables))
