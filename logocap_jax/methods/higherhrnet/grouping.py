"""Grouping by tags: candidates of all types become people, type by type.

Specification: `../shared/siblings/centergroup/spec.md`, 4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Float64, Int

from logocap_jax.methods.higherhrnet.munkres import NONE, assign

_NO_PERSON = 1e10  # cost of a column that stands for nobody
_PER_DISTANCE = 100  # cost of a tag that is off by 1


class People(NamedTuple):
    """People of one image in the order of founding.

    Attributes:
      member: the candidate that is each person's joint; `NONE`: it has none.
      found: number of people; rows from there on hold nobody.
    """

    member: Int[Array, "M K"]
    found: Int[Array, ""]


class _State(NamedTuple):
    """People while they are found.

    Attributes:
      member: as of `People`.
      found: as of `People`.
      key: the tag component that each was founded with.
      tag_sum: of the tags that count for each, in the order in which they came.
      tags: number of those.
    """

    member: Int[Array, "M K"]
    found: Int[Array, ""]
    key: Float[Array, " M"]
    tag_sum: Float[Array, "M T"]
    tags: Int[Array, " M"]


def group(
    values: Float[Array, "K N"],
    tags: Float[Array, "K N T"],
    *,
    order: tuple[int, ...],
    detection_threshold: float,
    tag_threshold: float,
    max_people: int,
) -> People:
    """Group candidates (specification, 4, steps 2 to 5).

    Args:
      values: of the candidates, in descending order.
      tags: of the candidates.
      order: of the types.
      detection_threshold: candidates of a larger value count, compared in float64.
      tag_threshold: a person takes candidates of a nearer tag.
      max_people: only so many people, the first ones, can gain joints.

    Returns:
      People; `M` is `K N`, at least `max_people`.
    """
    num_types, num_candidates = values.shape
    rows = max(num_types * num_candidates, max_people)
    with jax.enable_x64(True):
        enough = values.astype(jnp.float64) > detection_threshold
    counts = jnp.sum(enough, axis=1, dtype=jnp.int32)
    state = _State(
        member=jnp.full((rows, num_types), NONE, jnp.int32),
        found=jnp.zeros((), jnp.int32),
        key=jnp.zeros(rows),
        tag_sum=jnp.zeros((rows, tags.shape[-1])),
        tags=jnp.zeros(rows, jnp.int32),
    )

    def add_type(place: Array, state: _State) -> _State:
        kind = jnp.asarray(order, jnp.int32)[place]
        matched = _match(
            state, values[kind], tags[kind], counts[kind], tag_threshold, max_people
        )
        return _add(state, kind, tags[kind], counts[kind], matched)

    found = lax.fori_loop(0, num_types, add_type, state)
    return People(found.member, found.found)


def _match(
    state: _State,
    values: Float[Array, " N"],
    tags: Float[Array, "N T"],
    count: Int[Array, ""],
    tag_threshold: float,
    max_people: int,
) -> Int[Array, " N"]:
    """The person that takes each of the first `count` candidates; `NONE`: nobody."""
    size = max(max_people, len(values))
    people = jnp.minimum(state.found, max_people)
    mean = state.tag_sum[:size] / jnp.maximum(state.tags[:size], 1)[:, None]
    places = jnp.arange(size, dtype=jnp.int32)
    with jax.enable_x64(True):
        distance = _distances(tags, mean)
        costs = _PER_DISTANCE * jnp.round(distance) - values[:, None].astype(
            jnp.float64
        )
        costs = jnp.where(places < people, costs, _NO_PERSON)
        # Rows without a candidate stand for candidates that cost nothing.
        costs = jnp.pad(costs, ((0, size - len(values)), (0, 0)))
        costs = jnp.where((places < count)[:, None], costs, 0.0)
        column = assign(costs, jnp.maximum(people, count))[: len(values)]
        is_near = distance < tag_threshold
    near = is_near[places[: len(values)], column]
    return jnp.where(near & (column < people), column, NONE)


def _distances(
    tags: Float[Array, "N T"], means: Float[Array, "P T"]
) -> Float64[Array, "N P"]:
    """Distances of tags; every operation is rounded by itself."""
    difference = tags[:, None].astype(jnp.float64) - means.astype(jnp.float64)
    # The barrier keeps square and sum from becoming one operation.
    squares = lax.optimization_barrier(jnp.square(difference))
    return jnp.sqrt(jnp.sum(squares, axis=-1))


def _add(
    state: _State,
    kind: Int[Array, ""],
    tags: Float[Array, "N T"],
    count: Int[Array, ""],
    matched: Int[Array, " N"],
) -> _State:
    """Add the first `count` candidates of a type, one after the other."""

    def add(i: Array, state: _State) -> _State:
        tag, person = tags[i], matched[i]
        exists = jnp.arange(len(state.key)) < state.found
        same: Bool[Array, " M"] = exists & (state.key == tag[0])
        founded = jnp.where(jnp.any(same), jnp.argmax(same), state.found)
        joins = person >= 0
        row = jnp.where(joins, person, founded).astype(jnp.int32)
        before = jnp.where(joins, state.tag_sum[row], 0.0)
        number = jnp.where(joins, state.tags[row], 0)
        return _State(
            member=state.member.at[row, kind].set(i.astype(jnp.int32)),
            found=jnp.maximum(state.found, row + 1),
            key=state.key.at[row].set(jnp.where(joins, state.key[row], tag[0])),
            tag_sum=state.tag_sum.at[row].set(before + tag),
            tags=state.tags.at[row].set(number + 1),
        )

    return lax.fori_loop(0, count, add, state)
