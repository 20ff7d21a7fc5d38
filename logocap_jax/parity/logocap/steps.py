"""Training steps: losses, gradients, statistics and parameters."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from logocap_jax.methods.base import Variables
from logocap_jax.parity.compare import Comparison, largest_errors
from logocap_jax.parity.layout import Arrays
from logocap_jax.parity.logocap.training_stages import TrainingStages
from logocap_jax.structures import Batch
from logocap_jax.weights.files import to_state_dict

_FIRST, _LATER = 1e-5, 1e-2  # losses, relative
_STATISTICS = 1e-5
_TERMS = ("heatmap", "offset", "KAM", "refined")
_GRADIENT_MEDIAN, _GRADIENT_WORST = 1e-4, 5e-3
# Adam's first steps amplify float noise: the reference's own gradients are up to 2e-3
# off float64's. Three steps leave statistics below 1e-4 apart on one processor, 4e-4 on
# another (without AVX-512).
_STATISTICS_LATER, _CHANGE = 1e-3, 1e-2


def check_steps(
    compare: Comparison,
    arrays: Arrays,
    stages: TrainingStages,
    variables: Variables,
    batch: Batch,
) -> None:
    """Take the Adam steps of the case, and compare their results.

    Args:
      compare: takes the results.
      arrays: of the case.
      stages: of the model.
      variables: before the first step.
      batch: the case's.
    """
    opt_state = stages.optimizer.init(variables["params"])
    before, after_steps = variables, []
    for number, expected in enumerate(arrays["losses"], start=1):
        outcome = stages.step(variables, opt_state, batch)
        _check_losses(compare, np.asarray(outcome.losses), expected, number)
        if number == 1:
            _check_gradients(compare, arrays, outcome.grads)
        variables, opt_state = outcome.variables, outcome.opt_state
        after_steps.append(variables)
    _check_statistics(compare, arrays, after_steps)
    _check_change(compare, arrays, before, variables)


def _check_losses(
    compare: Comparison, found: np.ndarray, expected: np.ndarray, number: int
) -> None:
    """All four terms of step 1; later, those that depend on no discrete choice."""
    terms, tolerance = (_TERMS, _FIRST) if number == 1 else (_TERMS[:2], _LATER)
    for i, term in enumerate(terms):
        compare.relative(
            f"{term} loss, step {number}",
            found[i : i + 1],
            expected[i : i + 1],
            tolerance=tolerance,
            fed_with="batch",
        )


def _check_gradients(compare: Comparison, arrays: Arrays, grads: Variables) -> None:
    """Relative L2 error of every parameter's gradient."""
    expected = _under(arrays, "grad/")
    if not expected:
        return
    found = _by_torch_key({"params": grads})
    # A parameter that the reference lists as without gradient must have none here.
    wanted = expected | {
        str(key): np.zeros_like(found[str(key)])
        for key in arrays.get("grad_none", ())
        if str(key) in found
    }
    nothing = np.empty(0)
    errors = {
        key: _relative_l2(found.get(key, nothing), wanted.get(key, nothing))
        for key in sorted(found.keys() | wanted.keys())
    }
    worst = max(errors, key=errors.__getitem__)
    shape = np.empty(len(errors))
    median = float(np.median(list(errors.values())))
    for stage, error, limit, note in (
        ("gradients, median", median, _GRADIENT_MEDIAN, ""),
        ("gradients, worst", errors[worst], _GRADIENT_WORST, worst),
    ):
        compare.add(
            stage,
            shape,
            (error, np.nan),
            f"{limit:.0e} of the L2 norm",
            error <= limit,
            "batch",
            note=note,
        )


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
    """How all parameters changed, as one vector.

    Adam moves each parameter by about the learning rate whatever its gradient, so
    where gradients are float noise the directions are too.
    """
    expected = _under(arrays, "after/")
    start = _by_torch_key({"params": before["params"]})
    end = _by_torch_key({"params": after["params"]})
    if not expected:
        return
    missing = sorted(start.keys() - expected.keys())
    if missing:
        raise ValueError(f"'after/' lacks {missing[0]!r}")
    found = np.concatenate([(end[key] - start[key]).ravel() for key in start])
    wanted = np.concatenate([(expected[key] - start[key]).ravel() for key in start])
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


def _relative_l2(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return np.inf
    error, norm = np.linalg.norm(found - expected), np.linalg.norm(expected)
    return float(error / norm) if norm else (np.inf if error else 0.0)


def _by_torch_key(variables: Variables) -> dict[str, np.ndarray]:
    return to_state_dict(jax.device_get(variables))
