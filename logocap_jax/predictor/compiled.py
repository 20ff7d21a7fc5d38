"""Compiled programs on disk, so that a second run need not compile."""

import os
import pathlib

import jax


def keep_compiled(folder: pathlib.Path | None = None) -> None:
    """Use JAX's compilation cache, unless the caller has decided about it already.

    Of the process's compilations those that take a second or more are kept. A caller
    decides by `JAX_COMPILATION_CACHE_DIR` or the setting of that name: another folder,
    or none where it is empty.

    Args:
      folder: where; by default `default_folder()`.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        folder = folder or default_folder()
        jax.config.update("jax_compilation_cache_dir", str(folder))


def default_folder() -> pathlib.Path:
    """`logocap_jax` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "logocap_jax"
