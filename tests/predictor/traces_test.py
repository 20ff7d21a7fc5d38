import pathlib

import jax
import jax.numpy as jnp
import pytest

from logocap_jax.predictor import compiled

X = jnp.arange(6.0).reshape(2, 3)


class Traced:
    """A function that knows how often it was traced."""

    __name__ = "double"

    def __init__(self):
        self.times = 0

    def __call__(self, weights, x):
        self.times += 1
        return {"twice": 2 * x + weights["bias"]}


def run(folder, function, x=X):
    arguments = ({"bias": jnp.ones(())}, x)
    found = compiled.jit_kept(function, arguments, folder)(*arguments)
    assert (found["twice"] == 2 * x + 1).all()


@pytest.fixture
def cache(tmp_path):
    """A folder for compiled programs."""
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def test_a_shape_is_traced_once_for_all_processes(tmp_path):
    function = Traced()
    for _ in range(2):
        run(tmp_path / "traces", function)
    assert function.times == 1
    run(tmp_path / "traces", function, X[:1])
    assert function.times == 2
    assert len(list((tmp_path / "traces").iterdir())) == 2


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(None, Traced())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: content[:99] + bytes([content[99] ^ 4]) + content[100:],
    ],
    ids=["empty", "digest cut", "trace cut", "flipped bit"],
)
def test_a_damaged_trace_is_made_again(tmp_path, damage):
    run(tmp_path, Traced())
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    function = Traced()
    for _ in range(2):
        run(tmp_path, function)
    assert function.times == 1


def test_a_folder_that_cannot_be_made_is_said_and_does_no_harm(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    run(tmp_path / "file" / "traces", Traced())
    assert "cannot be kept for later runs: Not a directory" in caplog.text


def test_a_model_has_a_folder_of_its_own(cache):
    settings = {"name": "logocap", "backbone": {"channels": 8}}
    folder = compiled.folder_of(settings, ("kernel", (3, 3)))
    assert folder.parent == cache
    assert folder == compiled.folder_of(dict(settings), ("kernel", (3, 3)))
    for other in (
        (settings | {"flip_test": False}, ("kernel", (3, 3))),
        (settings, ("kernel", (1, 1))),
    ):
        assert compiled.folder_of(*other) != folder


def test_other_code_has_another_folder(cache, tmp_path, monkeypatch):
    sources = tmp_path / "sources"
    sources.mkdir()
    monkeypatch.setattr(compiled, "_SOURCES", sources)
    folders = set()
    for code in ("a = 1", "a = 2"):
        (sources / "a.py").write_text(code)
        folders.add(compiled.folder_of())
    assert len(folders) == 2


@pytest.mark.parametrize("cache_dir", [None, "", "gs://bucket/programs"])
def test_where_no_programs_are_kept_no_traces_are(cache, cache_dir):
    jax.config.update("jax_compilation_cache_dir", cache_dir)
    assert compiled.folder_of() is None
    assert not list(pathlib.Path(cache).iterdir())


def test_nested_results_are_kept(tmp_path):
    function = Traced()
    nested = lambda weights, x: {"maps": [function(weights, x)], "size": (x, None)}  # noqa: E731
    nested.__name__ = "nested"
    arguments = ({"bias": jnp.ones(())}, X)
    first, second = (
        compiled.jit_kept(nested, arguments, tmp_path)(*arguments) for _ in range(2)
    )
    assert function.times == 1
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert (second["maps"][0]["twice"] == 2 * X + 1).all()


@pytest.mark.parity
def test_a_folder_of_traces_does_not_prove_that_weights_fit(
    parity_dir, cache, monkeypatch
):
    weights = parity_dir / "tiny" / "weights.npz"
    (cache / "there").mkdir()
    monkeypatch.setattr(compiled, "folder_of", lambda *model: cache / "there")
    for _ in range(2):
        with pytest.raises(ValueError, match="of the wrong shape"):
            compiled.compile_weights(weights, settings={"embedding": 9})
    assert not list((cache / "there").iterdir())
