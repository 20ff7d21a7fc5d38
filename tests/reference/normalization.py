"""Batch and attentive normalisation, channel by channel, in float64."""

import numpy as np


def batch_norm(x, counts, epsilon=1e-5):
    """Normalise `x` [..., C] by the entries where `counts` [...] is True.

    Returns the normalised `x`, the mean and the unbiased variance.
    """
    x = np.asarray(x, np.float64)
    result = np.zeros_like(x)
    means, variances = [], []
    for c in range(x.shape[-1]):
        values = x[..., c][counts]
        mean = values.sum() / len(values)
        squares = ((values - mean) ** 2).sum()
        result[..., c] = (x[..., c] - mean) / np.sqrt(squares / len(values) + epsilon)
        means.append(mean)
        variances.append(squares / max(len(values) - 1, 1))
    return result, np.array(means), np.array(variances)


def attentive_norm(x, scale, bias, attention, counts):
    """`x` [S, E, E, C], `scale` and `bias` [A, C], `attention` [C, A] (spec., 5)."""
    x = np.asarray(x, np.float64)
    normalised, mean, var = batch_norm(x, counts)
    result = np.zeros_like(x)
    for s in range(len(x)):
        values = x[s].reshape(-1, x.shape[-1])
        instance_mean = values.sum(0) / len(values)
        squares = ((values - instance_mean) ** 2).sum(0)
        instance_var = squares / (len(values) - 1)
        features = instance_mean / np.sqrt(instance_var + 1e-3)
        weights = np.clip(features @ attention + 3, 0, 6) / 6
        result[s] = (weights @ scale) * normalised[s] + weights @ bias
    return result, mean, var
