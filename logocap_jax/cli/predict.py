"""Find the people in photographs and films.

Takes images (JPEG, PNG), films, folders, patterns, and the number of a camera. With
`--out` it draws the poses over each image or film, with `--json` it writes them as COCO
keypoint results, with `--csv` as a table; `--show` shows them as they come; `--track`
gives the people of a film ids. Unreadable inputs are named and left out; the exit code
is then 1. Ctrl-C stops after the image under way, and leaves complete files.
"""

import argparse
import os
import pathlib
import signal
import sys
from typing import TYPE_CHECKING

from logocap_jax.atomic import check_target, check_writable
from logocap_jax.cli.settings import add_predictor_options, parse_model_options

if TYPE_CHECKING:
    from logocap_jax.media.output import Output
    from logocap_jax.media.pictures import Pictures
    from logocap_jax.predictor import Predictor


# The ends of the files that this command writes, see `check_target`.
_JSON = r'^\[(\]\s*$|\{"image_id": )'
_CSV = r"^($|file,frame,)"
_DRAWN = r"Software\0logocap-jax"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="image, film, folder, pattern ('*.jpg', '**/*.jpg'), number of a camera",
    )
    add_predictor_options(parser)
    add("--out", type=pathlib.Path, help="folder for the drawn poses")
    add("--json", type=pathlib.Path, help="COCO keypoint results")
    add(
        "--category-id",
        type=int,
        default=1,
        help="of the results in --json, where annotations to hold them against have "
        "another one than COCO's person",
    )
    add("--csv", type=pathlib.Path, help="one row per pose")
    add(
        "--overwrite",
        action="store_true",
        help="replace files that this command has not written, but never an input",
    )
    add("--show", action="store_true", help="show them in a window")
    add(
        "--batch-size",
        type=int,
        help="images that run together; by default 1 on a CPU, else 8",
    )
    add(
        "--track",
        action="store_true",
        help="give the people of a film ids, and smooth their keypoints (one-euro "
        "filter: 1.5 Hz at rest, 6 Hz more for each of the person's sizes a second)",
    )
    add("--no-smooth", action="store_true", help="keep the keypoints of --track as is")
    add(
        "--exact-sizes",
        action="store_true",
        help="compile for each size of image, as for films, in place of a few that all "
        "share: faster where many images have one size",
    )
    add(
        "--draw",
        default="refined",
        metavar="VIEW[,VIEW...]",
        help="refined; initial draws the poses before refinement, thin where the "
        "refined ones are drawn, too; names of the method's layers (such as heatmaps) "
        "are pictures of their own, and take one image at a time",
    )


def run(args: argparse.Namespace) -> int:
    """Predict; return 1 if an image was left out, 130 if stopped by Ctrl-C.

    Raises:
      ValueError: no images, unusable weights, or nowhere to write.
    """
    views = args.draw.split(",")
    options = parse_model_options(args)
    # Films and cameras that cannot be read are told below, in a line each.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # nothing

    import jax

    from logocap_jax.media.output import Output
    from logocap_jax.media.pictures import Pictures, find_sources, is_image, path_of
    from logocap_jax.media.views import POSE_VIEWS, check_views
    from logocap_jax.predictor import Predictor
    from logocap_jax.visualization.window import Window

    sources = find_sources(args.inputs)
    outputs = _outputs(args, [*map(path_of, sources)], views)
    window = Window("logocap predict") if args.show else None
    predictor = Predictor.from_weights(
        args.weights,
        short_side=args.short_side,
        score_threshold=args.score_threshold,
        batch_size=args.batch_size,
        # The frames of a film have one size: worth a program of their own.
        share_canvases=not args.exact_sizes and any(map(is_image, sources)),
        **options,
    )
    explain = not set(views) <= set(POSE_VIEWS)
    if explain:  # listing the layers takes a trace of the network
        check_views(views, predictor.layers)
    print(
        f"{len(sources)} inputs, {len(jax.devices())} {jax.default_backend()} devices"
    )
    pictures = Pictures(sources, check=predictor.input_size)
    output = Output(
        [path_of(source) for source in sources],
        folder=args.out,
        json_file=args.json,
        category_id=args.category_id,
        csv_file=args.csv,
        views=views,
        track=args.track,
        smooth=not args.no_smooth,
        window=window,
    )
    with output:
        stopped = _process(predictor, pictures, output, explain=explain)
    faults = [*pictures.faults, *output.faults]
    for line in (*(f"left out: {fault}" for fault in faults), *output.notes):
        print(line, file=sys.stderr)
    print(
        f"{output.num_images} images, {output.num_people} people, "
        f"{len(faults)} left out; wrote {', '.join(outputs) or 'nothing'}"
    )
    if output.num_images and not output.num_people:
        best = output.best_left_out
        told = "no pose at all" if best is None else f"the best pose scores {best:.3g}"
        print(
            f"nobody found: {told}, the threshold is {predictor.score_threshold:g} "
            "(--score-threshold)"
        )
    if stopped:
        print("stopped before the end", file=sys.stderr)
        return 128 + signal.SIGINT
    return 1 if faults else 0


def _outputs(
    args: argparse.Namespace, inputs: list[pathlib.Path], views: list[str]
) -> list[str]:
    """Names of the targets; checked now, so that no work is lost later."""
    from logocap_jax.media.output import drawn_targets

    rule = {"inputs": [*inputs, args.weights], "overwrite": args.overwrite}
    for path, ours in ((args.json, _JSON), (args.csv, _CSV)):
        if path is not None:
            check_target(path, ours=ours, **rule)
    if args.out is not None:
        check_writable(args.out / "drawn.png")
        for path in drawn_targets(args.out, inputs, views):
            check_target(path, ours=_DRAWN, **rule)
    outputs = [str(path) for path in (args.out, args.json, args.csv) if path]
    if not outputs and not args.show:
        raise ValueError(
            "got nothing to write; give --out DIR, --json or --csv FILE, or --show"
        )
    return outputs


def _process(
    predictor: "Predictor", pictures: "Pictures", output: "Output", *, explain: bool
) -> bool:
    """Take pictures through the model to the output; True if Ctrl-C ended it."""
    import tqdm

    from logocap_jax.media.output import find_people
    from logocap_jax.processes import stop_on_signals

    progress = tqdm.tqdm(total=pictures.most, unit=" images", disable=None)
    with stop_on_signals() as stop, progress as bar:
        for result in find_people(predictor, pictures, explain=explain):
            output.add(result)
            bar.update()
            if stop.signal is not None or output.window_closed:
                break
    return stop.signal is not None
