"""What must not change a run: the order of hashes, a damaged compilation cache."""

import shutil

import pytest


@pytest.mark.slow
def test_neither_hash_seed_nor_a_damaged_compilation_cache_changes_a_bit(
    start, outcome, tmp_path
):
    cache = tmp_path / "cache"
    whole, cold, damaged = (tmp_path / name for name in ("whole", "cold", "damaged"))
    settings = {"PYTHONHASHSEED": "0", "JAX_COMPILATION_CACHE_DIR": str(cache)}
    assert start(cold, environment=settings).end().code == 0
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    settings["PYTHONHASHSEED"] = "12345"
    assert start(damaged, environment=settings).end().code == 0
    shutil.rmtree(cache)
    assert start(whole).end().code == 0
    assert outcome(cold) == outcome(damaged) == outcome(whole)
