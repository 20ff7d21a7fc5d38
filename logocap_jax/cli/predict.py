"""Find the people in photographs.

Takes images (JPEG, PNG), folders and patterns. With `--out` it draws the poses over
each image, with `--json` it writes them as COCO keypoint results, with `--csv` as a
table. An image that cannot be read is named and left out; the exit code is then 1.
"""

import argparse
import ast
import glob
import pathlib
import sys
from collections.abc import Iterator, Sequence

SUFFIXES = (".jpg", ".jpeg", ".png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `logocap predict` takes."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT")
    parser.add_argument(
        "--weights",
        type=pathlib.Path,
        required=True,
        help="a run of train.py, or any file that `logocap convert` reads",
    )
    parser.add_argument("--out", type=pathlib.Path, help="folder for the drawn poses")
    parser.add_argument("--json", type=pathlib.Path, help="COCO keypoint results")
    parser.add_argument("--csv", type=pathlib.Path, help="one row per pose")
    parser.add_argument("--short-side", type=int, default=512, help="input px")
    parser.add_argument("--score-threshold", type=float, default=0.02)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--no-flip-test", action="store_true", help="half the work")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the method that the weights do not bring with them",
    )
    parser.add_argument(
        "--draw",
        choices=("refined", "initial"),
        default="refined",
        help="initial: draw the poses before refinement thin over the refined ones",
    )


def run(args: argparse.Namespace) -> int:
    """Predict, image after image.

    Returns:
      1 if an image was left out, else 0.

    Raises:
      ValueError: no images, unusable weights, or nowhere to write.
    """
    paths = _find_images(args.inputs)
    outputs = [path for path in (args.out, args.json, args.csv) if path is not None]
    if not outputs:
        raise ValueError("got nothing to write; give --out DIR, --json or --csv FILE")
    for path in (args.json, args.csv):
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: no such folder")

    settings = dict(map(_parse_setting, args.set))

    import jax
    import tqdm

    from logocap_jax.predictor import Predictor
    from logocap_jax.predictor.compiled import keep_compiled
    from logocap_jax.predictor.output import Output

    keep_compiled()
    predictor = Predictor.from_weights(
        args.weights,
        short_side=args.short_side,
        flip_test=not args.no_flip_test,
        score_threshold=args.score_threshold,
        batch_size=args.batch_size,
        dtype=args.dtype,
        settings=settings,
    )
    print(f"{len(paths)} images, {len(jax.devices())} {jax.default_backend()} devices")
    output = Output(args.out, args.json, args.csv, initial=args.draw == "initial")
    source = _Readable(paths)
    with output, tqdm.tqdm(total=len(paths), unit="image", disable=None) as bar:
        for poses in predictor.stream(source):
            path, pixels = source.taken.pop(0)
            output.add(path, pixels, poses)
            bar.update()
    for line in source.faults:
        print(f"left out: {line}", file=sys.stderr)
    print(
        f"{output.num_images} images, {output.num_people} people, "
        f"{len(source.faults)} left out; wrote {', '.join(map(str, outputs))}"
    )
    return 1 if source.faults else 0


class _Readable:
    """Pixels of the images that can be read.

    Attributes:
      taken: path and pixels of those handed out, oldest first.
      faults: one line for each of the others.
    """

    def __init__(self, paths: Sequence[pathlib.Path]) -> None:
        self._paths = paths
        self.taken: list = []
        self.faults: list[str] = []

    def __iter__(self) -> Iterator:
        from logocap_jax.predictor.images import read_image

        for path in self._paths:
            try:
                pixels = read_image(path)
            except ValueError as error:
                self.faults.append(str(error))
                continue
            self.taken.append((path, pixels))
            yield pixels


def _parse_setting(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError) as error:
        raise ValueError(
            f"--set {text}: expected KEY=VALUE, such as window_radius=48"
        ) from error


def _find_images(inputs: Sequence[str]) -> list[pathlib.Path]:
    """Images of files, folders and patterns, in the order given, each once."""
    found: dict[pathlib.Path, None] = {}
    for text in inputs:
        path = pathlib.Path(text)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        elif path.exists():
            inside = [path]
        else:
            inside = [pathlib.Path(name) for name in sorted(glob.glob(text))]
        if not inside:
            raise ValueError(
                f"{text}: no image, expected a file, a pattern, or a folder of "
                f"{', '.join(SUFFIXES)}"
            )
        found |= dict.fromkeys(inside)
    return list(found)
