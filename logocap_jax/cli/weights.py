"""Weights by name: list them, download them, check them, pack your own.

`logocap weights` lists the names that `--weights` takes; `get NAME` downloads the
files, `where NAME` prints their places in the cache, `verify NAME|FILE` holds files
against their sums, and `pack RUN FILE` makes one file of a run to hand on, with
settings, skeleton, AP and licence inside.
"""

import argparse
import hashlib
import pathlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logocap_jax.public_weights import PublicWeights

_MANY = 1000
# How many names each takes.
_NAMES = {
    "list": range(1),
    "get": range(1, _MANY),
    "where": range(1, _MANY),
    "verify": range(1, _MANY),
    "pack": range(2, 3),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("action", nargs="?", choices=_NAMES, default="list")
    add("names", nargs="*", metavar="NAME", help="names, files, or a run and a file")
    add(
        "--base-url",
        metavar="URL",
        help="in place of the publishers' addresses (else: LOGOCAP_WEIGHTS_URL)",
    )
    add(
        "--cache",
        type=pathlib.Path,
        metavar="DIR",
        help="in place of the user's cache folder (else: LOGOCAP_CACHE)",
    )
    add("--markdown", action="store_true", help="list: the table of docs/models.md")
    add("--licence", help="pack: of your weights; it goes into the file")


def run(args: argparse.Namespace) -> int:
    """Do one of them; 1 if a file is not what its sum says.

    Raises:
      ValueError: no such name, a failed download, or nothing to pack.
    """
    count, allowed = len(args.names), _NAMES[args.action]
    if count not in allowed:
        least = f"{allowed[0]}{' or more' if len(allowed) > 1 else ''}"
        raise ValueError(f"weights {args.action}: got {count} names, expected {least}")
    return {
        "list": _list,
        "get": _get,
        "where": _where,
        "verify": _verify,
        "pack": _pack,
    }[args.action](args)


def public_table() -> str:
    """The public weights in Markdown."""
    from logocap_jax.tables import format_table
    from logocap_jax.weights.named import all_named

    head = ["name", "backbone", "data", "input px", "AP", "decoder", "licence"]
    rows = [[*head, "SHA-256", "from"]]
    for name, named in all_named().items():
        origin = named.source
        if named.base:
            origin = f"[{named.source}]({named.base}{named.path})"
        row = [f"`{name}`", named.backbone, named.data, str(named.short_side)]
        digits = f"{named.sha256}..." if named.sha256 else "not known"
        row += [named.ap or "-", _decoder(named) or "-", named.licence, digits, origin]
        rows.append(row)
    return format_table(rows, align="<<<>><", markdown=True)


def _decoder(named: "PublicWeights") -> str:
    return str(named.settings.get("decoder", "official")) if named.ap else ""


def _list(args: argparse.Namespace) -> int:
    from logocap_jax.tables import format_table
    from logocap_jax.weights.named import all_named, where

    if args.markdown:
        print(public_table())
        return 0
    rows = [["name", "input px", "AP", "decoder", "licence", "here"]]
    for name, named in all_named().items():
        here = "yes" if where(name, args.cache).exists() else "no"
        side = str(named.short_side)
        rows.append([name, side, named.ap, _decoder(named), named.licence, here])
    print(format_table(rows, align="<>><<<"))
    print(
        "\nAP: COCO val2017 or CrowdPose test, one scale, flip test, by the decoder "
        "named, as the publishers state it; not measured here."
    )
    return 0


def _get(args: argparse.Namespace) -> int:
    from logocap_jax.weights.named import find_weights

    for name in args.names:
        print(find_weights(name, base_url=args.base_url, cache=args.cache))
    return 0


def _where(args: argparse.Namespace) -> int:
    from logocap_jax.weights.named import where

    for name in args.names:
        path = where(name, args.cache)
        print(f"{path}{'' if path.exists() else ' (not there yet)'}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    passed = [_verify_one(text, args.cache) for text in args.names]
    return 0 if all(passed) else 1


def _verify_one(text: str, cache: pathlib.Path | None) -> bool:
    """Hold one file against its sum; say the outcome."""
    from logocap_jax.weights.containers import read_arrays
    from logocap_jax.weights.named import find_named, where
    from logocap_jax.weights.packed import packed_about, verify_packed

    named = find_named(text)
    path = where(text, cache) if named else pathlib.Path(text)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    in_name = re.search(r"[-_]([0-9a-f]{8})(?:[-_]\d{8})?\.pth$", path.name)
    expected = named.sha256 if named else in_name[1] if in_name else ""
    if packed_about(path) is not None:
        verify_packed(path, read_arrays(path))
        print(f"{path}: as it was packed, SHA-256 {found}")
    elif not expected:
        print(f"{path}: SHA-256 {found}; nothing to hold it against")
    else:
        verdict = "right" if found.startswith(expected) else "WRONG"
        print(f"{path}: {verdict}, SHA-256 {found}, expected {expected}...")
    return found.startswith(expected)


def _pack(args: argparse.Namespace) -> int:
    from logocap_jax.weights.files import load_variables
    from logocap_jax.weights.packed import write_packed
    from logocap_jax.weights.settings import saved_about
    from logocap_jax.weights.trees import flatten

    source, target = map(pathlib.Path, args.names)
    about = saved_about(source)
    if about is None:
        raise ValueError(f"{source}: got no run, expected the workdir of one")
    if target.exists():
        raise ValueError(f"{target}: exists; remove it or name another target")
    if target.suffix != ".safetensors":
        raise ValueError(f"{target}: expected a name that ends in .safetensors")
    kept = ("settings", "skeleton", "short_side", "score")
    content = {name: about[name] for name in kept if name in about}
    content["licence"] = args.licence or "not stated"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_packed(target, flatten(load_variables(source)), content)
    with target.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    score = f", AP {100 * content['score']:.1f}" if "score" in content else ""
    print(f"packed {source} to {target}{score}, licence: {content['licence']}")
    print(f"SHA-256 {found}; others use it by --weights {target.name} or")
    print(f"--weights https://YOUR.SITE/{target.name}#sha256={found[:16]}")
    return 0
