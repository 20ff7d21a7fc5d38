from logocap_jax.measure.hlo import parse_hlo
from logocap_jax.measure.launches import count_launches

PROGRAM = """HloModule m
%f (q: f32[8]) -> f32[8] {
  %q = f32[8]{0} parameter(0)
  %n = f32[8]{0} negate(%q)
  %e = f32[8]{0} exponential(%n)
}
%body (q: f32[8]) -> f32[8] {
  %q = f32[8]{0} parameter(0)
  %a = f32[8]{0} fusion(%q), kind=kLoop, calls=%f
  %b = f32[8]{0} custom-call(%a), custom_call_target="__cudnn$convForward"
}
ENTRY %main (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %w = f32[8]{0} while(%p), body=%bodyTRIPS
  %v = f32[2,4]{1,0} bitcast(%w)
  %c = f32[2,4]{1,0} copy(%v)
}
"""


def count(trips="", **options):
    text = PROGRAM.replace("TRIPS", trips)
    return count_launches(parse_hlo(text), **options)


def test_what_is_fused_and_what_only_names_arrays_is_no_launch():
    assert count() == 2 + 1


def test_a_loop_launches_its_body_every_round():
    assert count(unknown_trips=3) == 3 * 2 + 1
    known = ', backend_config={"known_trip_count":{"n":"5"}}'
    assert count(known, unknown_trips=3) == 5 * 2 + 1
