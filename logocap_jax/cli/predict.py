"""Find the people in photographs and films.

Takes images (JPEG, PNG), films, folders and patterns. With `--out` it draws the poses
over each image or film, with `--json` it writes them as COCO keypoint results, with
`--csv` as a table; `--track` gives the people of a film ids. What cannot be read is
named and left out; the exit code is then 1.
"""

import argparse
import collections
import pathlib
import sys

from logocap_jax.cli.settings import add_settings, parse_settings


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
        "--track", action="store_true", help="give the people of a film ids"
    )
    add_settings(parser)
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
    outputs = [path for path in (args.out, args.json, args.csv) if path is not None]
    if not outputs:
        raise ValueError("got nothing to write; give --out DIR, --json or --csv FILE")
    for path in (args.json, args.csv):
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: no such folder")

    settings = parse_settings(args.set)

    import jax
    import tqdm

    from logocap_jax.predictor import Predictor
    from logocap_jax.predictor.compiled import keep_compiled
    from logocap_jax.predictor.output import Output
    from logocap_jax.predictor.pictures import Picture, Pictures, find_files

    paths = find_files(args.inputs)
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
    print(f"{len(paths)} files, {len(jax.devices())} {jax.default_backend()} devices")
    output = Output(
        *(args.out, args.json, args.csv),
        initial=args.draw == "initial",
        track=args.track,
    )
    pictures = Pictures(paths)
    waiting: collections.deque[Picture] = collections.deque()

    def pixels():
        for picture in pictures:
            waiting.append(picture)
            yield picture.pixels

    with output, tqdm.tqdm(unit="image", disable=None) as bar:
        for poses in predictor.stream(pixels()):
            output.add(waiting.popleft(), poses)
            bar.update()
    for line in pictures.faults:
        print(f"left out: {line}", file=sys.stderr)
    print(
        f"{output.num_images} images, {output.num_people} people, "
        f"{len(pictures.faults)} left out; wrote {', '.join(map(str, outputs))}"
    )
    return 1 if pictures.faults else 0
