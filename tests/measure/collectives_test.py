import jax
import jax.numpy as jnp
import pytest

from logocap_jax.measure.programs import (
    KINDS,
    Collective,
    Traffic,
    array_bytes,
    find_collectives,
    growing_kinds,
    sum_by_kind,
)
from logocap_jax.sharding import batch_sharding, make_mesh


def module(*instructions, others=""):
    entry = computation("main.1_spmd", *instructions)
    return f"HloModule jit_step, is_scheduled=true\n\n{others}ENTRY {entry}"


def computation(name, *instructions):
    body = "\n".join(f"  {line}" for line in instructions)
    return f"%{name} (p.1: f32[4]) -> f32[4] {{\n{body}\n}}\n\n"


SUM = "%all-reduce.{} = f32[4]{{0}} all-reduce(%p), channel_id=1, to_apply=%add"
ADD = computation("add", "ROOT %a = f32[] add(%x, %y)")


@pytest.mark.parametrize(
    ("instruction", "kind", "size"),
    [
        ("%a = f32[3,5]{1,0} all-reduce(%p), to_apply=%add", "all-reduce", 60),
        ("ROOT %a = bf16[3]{0} all-reduce(%p), to_apply=%add", "all-reduce", 6),
        ("%a = f32[]{:T(128)} all-reduce(%p), to_apply=%add", "all-reduce", 4),
        ("%a = pred[8,4]{1,0:T(8,128)(4,1)} all-gather(%p)", "all-gather", 32),
        ("%a = f8e4m3fn[16]{0} all-gather(%p)", "all-gather", 16),
        ("%a = s4[3]{0:T(8,128)(8,1)E(4)} all-gather(%p)", "all-gather", 2),
        ("a = u8[2,3]{1,0} reduce-scatter(p), dimensions={0}", "reduce-scatter", 6),
        ("%a = s32[7]{0} collective-permute(%p)", "collective-permute", 28),
        (
            "%a = (f32[2]{0:T(128)S(1)}, /*index=1*/c64[3]{0}) all-to-all(%p, %q)",
            "all-to-all",
            32,
        ),
    ],
)
def test_result_is_measured_in_bytes(instruction, kind, size):
    (found,) = find_collectives(module(instruction, others=ADD))
    assert found == Collective(kind, size, times=1, op_name="")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("f32[3,5]{1,0:T(8,128)}", 60),
        ("bf16[3]{0:T(256)(128)(2,1)S(1)}", 6),
        ("pred[]", 1),
        ("s4[3]{0:T(8,128)(8,1)E(4)}", 2),
        ("f8e4m3fn[16]{0}", 16),
        ("(f32[2]{0}, /*index=1*/(c64[3]{0:S(1)}))", 8 + 24),
    ],
)
def test_bytes_of_a_shape(shape, expected):
    assert array_bytes(shape) == expected


def test_start_and_end_of_an_asynchronous_collective_count_once():
    hlo = module(
        "%s = (f32[2]{0}, f32[8]{0}) all-gather-start(%p), dimensions={0}",
        "%d = f32[8]{0} all-gather-done(%s)",
        "%r = f32[4]{0} all-reduce-start(%p), to_apply=%add",
        "%e = f32[4]{0} all-reduce-done(%r)",
        others=ADD,
    )
    assert [(c.kind, c.size) for c in find_collectives(hlo)] == [
        ("all-gather", 32),
        ("all-reduce", 16),
    ]


def test_wrapped_asynchronous_collective_counts_once():
    hlo = module(
        "%s = ((f32[8]), f32[4]) async-start(%p), calls=%wrapped",
        "%u = ((f32[8]), f32[4]) async-update(%s), calls=%wrapped",
        "%d = f32[4]{0} async-done(%u), calls=%wrapped",
        others=computation("wrapped", "ROOT %a = f32[4]{0} reduce-scatter(%p)"),
    )
    assert find_collectives(hlo) == [Collective("reduce-scatter", 16, 1, "")]


def test_collective_in_loops_counts_as_often_as_they_run():
    known = (
        "%w = f32[4] while(%p), condition=%test, body=%outer, "
        'backend_config={"known_trip_count":{"n":"5"}}'
    )
    unknown = "%v = f32[4] while(%p), condition=%test, body=%inner"
    hlo = module(
        known,
        SUM.format(0),
        others=ADD
        + computation("test", "ROOT %t = pred[] compare(%i, %n), direction=LT")
        + computation("inner", SUM.format(1))
        + computation("outer", unknown, SUM.format(2)),
    )
    times = [c.times for c in find_collectives(hlo, unknown_trips=3)]
    assert sorted(times) == [1, 5, 15]
    assert sum_by_kind(find_collectives(hlo))["all-reduce"] == Traffic(11, 11 * 16)


def test_collectives_in_fusions_calls_and_branches_are_found():
    hlo = module(
        "%f = f32[4] fusion(%p), kind=kCustom, calls=%fused",
        "%c = f32[4] call(%p), to_apply=%called",
        "%b = f32[4] conditional(%i, %p, %p), branch_computations={%left, %right}",
        others=ADD
        + "".join(
            computation(name, SUM.format(name))
            for name in ("fused", "called", "left", "right", "unused")
        ),
    )
    assert sum_by_kind(find_collectives(hlo))["all-reduce"].number == 4


def test_other_instructions_that_name_a_collective_do_not_count():
    hlo = module(
        "%all-reduce.1 = f32[4]{0} get-tuple-element(%all-reduce.0), index=0",
        '%m = f32[4] add(%p, %p), metadata={op_name="jit(f)/x = all-reduce(y)"}',
        "%n = f32[4]{0} copy(%all-gather.3)",
    )
    assert find_collectives(hlo) == []
    assert sum_by_kind([]) == dict.fromkeys(KINDS, Traffic(0, 0))


def test_text_without_an_entry_is_refused():
    with pytest.raises(ValueError, match="without an ENTRY computation"):
        find_collectives("HloModule nothing\n")


def test_source_of_the_collective_that_grew_most_is_named():
    steady = Collective("all-reduce", 1000, 1, "gradient")
    small = [steady, Collective("all-gather", 100, 2, "a")]
    large = [
        steady._replace(size=1004),
        Collective("all-gather", 110, 2, "a"),
        Collective("all-gather", 50, 3, "b"),
    ]
    assert growing_kinds(small, large) == {"all-gather": "b"}
    assert growing_kinds(small, small) == {}


def test_collective_that_appears_with_the_larger_batch_has_grown():
    large = [Collective("all-to-all", 8, 1, "c")]
    assert growing_kinds([], large) == {"all-to-all": "c"}


def _compiled(function, rows):
    """Collectives of a function of rows that are split over all devices."""
    sharding = batch_sharding(make_mesh())
    argument = jax.ShapeDtypeStruct((rows, 5), jnp.float32, sharding=sharding)
    return find_collectives(jax.jit(function).lower(argument).compile().as_text())


def test_sum_over_the_batch_is_an_all_reduce_of_the_same_size_for_any_batch():
    small, large = (_compiled(lambda x: jnp.sum(x, axis=0), n) for n in (16, 32))
    traffic = sum_by_kind(small)
    assert traffic.pop("all-reduce") == Traffic(1, 5 * 4)
    assert not any(traffic[kind].number for kind in traffic)
    assert growing_kinds(small, large) == {}


def test_function_that_moves_rows_between_devices_is_a_sharding_fault():
    small, large = (
        _compiled(lambda x: jnp.cumsum(x[::-1], axis=0), n) for n in (16, 32)
    )
    assert growing_kinds(small, large)


def test_sum_in_a_loop_counts_every_round():
    def rounds(x):
        return jax.lax.fori_loop(0, 6, lambda _, y: y + jnp.sum(y, axis=0), x)

    assert sum_by_kind(_compiled(rounds, 16))["all-reduce"] == Traffic(6, 6 * 20)
