"""Convert weights between PyTorch and this project.

Reads state dicts and training checkpoints of `torch.save` (without PyTorch, and
without running what they contain), ImageNet HRNets, `.npz`, `.safetensors` and Orbax
checkpoints. Prints what became of the arrays, and the SHA-256 of the files; unless
`--partial`, refuses anything but a one-to-one fit. Of a run that keeps a moving average
of its weights the average is taken, unless `--raw`.
"""

import argparse
import hashlib
import pathlib

_KIND_OF_SUFFIX = {".safetensors": "safetensors", ".pth": "torch", ".tar": "torch"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("source", type=pathlib.Path)
    add("target", type=pathlib.Path)
    add(
        "--to",
        choices=("orbax", "safetensors", "torch"),
        help="what to write; by default the target's suffix decides, else orbax",
    )
    add("--partial", action="store_true", help="take what fits, leave out the rest")
    add(
        "--raw",
        action="store_true",
        help="of a run, the weights themselves, not their moving average",
    )
    add("--method", help="whose names of arrays; by default the arrays tell")
    add(
        "--file",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a further file of the same model, such as scorer=scorer.pth",
    )


def run(args: argparse.Namespace) -> int:
    """Convert one file.

    Raises:
      ValueError: the source is unusable or does not fit, or the target exists.
    """
    from logocap_jax.weights import containers, files
    from logocap_jax.weights.named import find_weights

    source = find_weights(args.source)
    if args.target.suffix == ".onnx":
        raise ValueError(
            f"{args.target}: ONNX is a program, not weights alone: logocap export "
            f"{args.target} --weights {args.source}"
        )
    if args.target.exists():
        raise ValueError(f"{args.target}: exists; remove it or name another target")
    variables, report = files.read_weights(
        source,
        partial=True,
        raw=args.raw,
        method=args.method,
        files=dict(map(_parse_file, args.file)),
    )
    print(report.format())
    if not args.partial:
        with containers.errors_naming(source):
            report.require_complete()
    kind = args.to or _KIND_OF_SUFFIX.get(args.target.suffix, "orbax")
    args.target.parent.mkdir(parents=True, exist_ok=True)
    written = [args.target]
    if kind == "torch":
        written = files.save_torch(args.target, variables, method=args.method)
    elif kind == "safetensors":
        files.save_safetensors(args.target, variables)
    else:
        files.save_variables(args.target, variables)
    print(f"\nread {source}{_sum_of(source)}")
    for target in written:
        print(f"wrote {target} ({kind}){_sum_of(target)}")
    return 0


def _parse_file(text: str) -> tuple[str, pathlib.Path]:
    name, separator, path = text.partition("=")
    if not separator:
        raise ValueError(f"got --file {text}, expected NAME=FILE")
    return name, pathlib.Path(path)


def _sum_of(path: pathlib.Path) -> str:
    """A file's SHA-256, to print; empty for a folder."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return f", SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
