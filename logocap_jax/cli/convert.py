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
    """Declare what `logocap convert` takes."""
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("target", type=pathlib.Path)
    parser.add_argument(
        "--to",
        choices=("orbax", "safetensors", "torch"),
        help="what to write; by default the target's suffix decides, else orbax",
    )
    parser.add_argument(
        "--partial", action="store_true", help="take what fits, leave out the rest"
    )
    parser.add_argument(
        "--raw",
        action="store_true",
        help="of a run, the weights themselves, not their moving average",
    )


def run(args: argparse.Namespace) -> int:
    """Convert one file.

    Raises:
      ValueError: the source is unusable or does not fit, or the target exists.
    """
    from logocap_jax.weights import containers, files

    if not args.source.exists():
        raise ValueError(f"{args.source}: no such file")
    if args.target.exists():
        raise ValueError(f"{args.target}: exists; remove it or name another target")
    variables, report = files.read_weights(args.source, partial=True, raw=args.raw)
    print(report.format())
    if not args.partial:
        with containers.errors_naming(args.source):
            report.require_complete()
    kind = args.to or _KIND_OF_SUFFIX.get(args.target.suffix, "orbax")
    save = {
        "orbax": files.save_variables,
        "safetensors": files.save_safetensors,
        "torch": files.save_torch,
    }[kind]
    args.target.parent.mkdir(parents=True, exist_ok=True)
    save(args.target, variables)
    print(f"\nread {args.source}{_sum_of(args.source)}")
    print(f"wrote {args.target} ({kind}){_sum_of(args.target)}")
    return 0


def _sum_of(path: pathlib.Path) -> str:
    """What to say of a file's SHA-256; a folder has none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return f", SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
