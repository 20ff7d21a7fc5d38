"""What must not change a run: the order of hashes, a damaged compilation cache."""

import shutil

import pytest

from tests.faults.injector import Truncate, damage, files


@pytest.mark.slow
@pytest.mark.row("R19", "T1")
def test_neither_hash_seed_nor_a_damaged_compilation_cache_changes_a_bit(
    start, outcome, tmp_path, record_property
):
    cache = tmp_path / "cache"
    whole, cold, damaged = (tmp_path / name for name in ("whole", "cold", "damaged"))
    settings = {"PYTHONHASHSEED": "0", "JAX_COMPILATION_CACHE_DIR": str(cache)}
    assert start(cold, environment=settings).end().code == 0
    programs = files(cache)
    assert programs
    record_property("cases", len(programs))
    for path in programs:
        damage(path, Truncate(0.5))
    settings["PYTHONHASHSEED"] = "12345"
    assert start(damaged, environment=settings).end().code == 0
    shutil.rmtree(cache)
    assert start(whole).end().code == 0
    assert outcome(cold) == outcome(damaged) == outcome(whole)
