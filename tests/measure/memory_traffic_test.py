import pytest

from logocap_jax.measure.hlo import array_sizes, parse_hlo
from logocap_jax.measure.memory_traffic import main_memory_bytes


def traffic(*instructions, others="", **options):
    lines = "\n".join(f"  {line}" for line in instructions)
    entry = f"ENTRY %main (p: f32[8]) -> f32[8] {{\n{lines}\n}}\n"
    return main_memory_bytes(parse_hlo(f"HloModule m\n{others}{entry}"), **options)


def called(name, *instructions):
    lines = "\n  ".join(["%q = f32[8]{0} parameter(0)", *instructions])
    return f"%{name} (q: f32[8]) -> f32[8] {{\n  {lines}\n}}\n"


PARAMETER = "%p = f32[8]{0} parameter(0)"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("f32[3,5]{1,0:T(8,128)}", [(60, True)]),
        ("bf16[3]{0:T(256)(128)(2,1)S(1)}", [(6, False)]),
        ("pred[]", [(1, True)]),
        ("s4[3]{0:T(8,128)(8,1)E(4)}", [(2, True)]),
        ("f8e4m3fn[16]{0}", [(16, True)]),
        ("(f32[2]{0}, /*index=1*/(c64[3]{0:S(1)}))", [(8, True), (24, False)]),
    ],
)
def test_bytes_of_a_shape(shape, expected):
    assert list(array_sizes(shape)) == expected


def test_instruction_reads_its_operands_and_writes_its_result():
    assert traffic(PARAMETER, "%a = f32[8]{0} add(%p, %p)") == 3 * 32


def test_fusion_is_one_instruction_whatever_it_fuses():
    fused = called("f", "%e = f32[8]{0} exponential(%q)")
    fusion = "%a = bf16[2]{0} fusion(%p), kind=kLoop, calls=%f"
    assert traffic(PARAMETER, fusion, others=fused) == 32 + 4


def test_of_an_array_that_is_sliced_only_the_slices_are_read():
    row = (
        "%i = s32[] parameter(1)",
        "%v = f32[4,2]{1,0} bitcast(%q)",
        "%r = f32[1,2]{1,0} dynamic-slice(%v, %i, %i)",
    )
    index = "%k = s32[] parameter(1)"
    fusion = "%a = f32[1,2]{1,0} fusion(%p, %k), kind=kLoop, calls=%f"
    sliced = called("f", *row)
    assert traffic(PARAMETER, index, fusion, others=sliced) == 8 + 4 + 8
    also_whole = called("f", *row, "%e = f32[8]{0} exponential(%q)")
    assert traffic(PARAMETER, index, fusion, others=also_whole) == 32 + 4 + 8
    alone = "%s = f32[2]{0} dynamic-slice(%p, %k)"
    assert traffic(PARAMETER, index, alone) == 8 + 8


def test_memory_on_the_core_is_free():
    near = "%a = f32[8]{0:T(128)S(1)} negate(%p)"
    far = "%b = f32[8]{0} negate(%a)"
    assert traffic(PARAMETER, near) == 32
    assert traffic(PARAMETER, near, far) == 64


def test_prefetch_to_the_core_reads_what_it_brings():
    start = "%s = (f32[8]{0}, f32[8]{0:S(1)}, u32[]{:S(2)}) copy-start(%p)"
    assert traffic(PARAMETER, start, "%d = f32[8]{0:S(1)} copy-done(%s)") == 32


def test_what_only_names_arrays_moves_nothing():
    assert (
        traffic(
            PARAMETER,
            "%t = (f32[8]{0}, f32[8]{0}) tuple(%p, %p)",
            "%g = f32[8]{0} get-tuple-element(%t), index=0",
            "%b = f32[2,4]{1,0} bitcast(%g)",
            '%c = f32[8]{0} custom-call(%p), custom_call_target="ConcatBitcast"',
        )
        == 0
    )


def test_other_custom_calls_move_what_they_take_and_give():
    call = '%c = f32[8]{0} custom-call(%p), custom_call_target="TopK"'
    assert traffic(PARAMETER, call) == 64


def test_body_of_a_loop_counts_every_round():
    body = called("body", "%n = f32[8]{0} negate(%q)")
    loop = "%w = f32[8]{0} while(%p), body=%body"
    known = f'{loop}, backend_config={{"known_trip_count":{{"n":"5"}}}}'
    assert traffic(PARAMETER, known, others=body) == 5 * 64
    assert traffic(PARAMETER, loop, others=body, unknown_trips=3) == 3 * 64
