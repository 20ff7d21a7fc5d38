"""A folder where every name that the pages use is a real small thing.

The network is `tests/tiny_config.py` with a method, trained by the commands of README.
"""

import pathlib
import shutil
from collections.abc import Iterable, Sequence

from data_pipeline.drawn import write_drawn_dataset
from logocap_jax import cli
from tests.docs.pages import ROOT
from tests.docs.parsers import arguments

_CONFIG = """
from logocap_jax.experiment.settings import load_config

def get_config():
    config = load_config({path!r}, ["method.name={method}"])
    config.data.dir = "demo/data"
    config.method.backbone.modules = (1, 1, 1)  # what a converted file is read by
    return config
"""
# What the pages say -> what stands for it here.
_STAND_INS = {
    "/data/coco": "data/coco",
    "short_side=512": "short_side=64",
    "short_side=192": "short_side=64",
    "score_threshold=0.02": "score_threshold=0.0",
    "--config.batch_size=32": "--config.batch_size=8",
}
# Put at the end, where the last one counts.
_SMALL = {
    ("logocap", "predict"): ("--short-side", "64"),
    ("logocap", "export"): ("--short-side", "64"),
}


def stand_in(text: str) -> str:
    """Text of a page, with small things in place of large ones."""
    for large, small in _STAND_INS.items():
        text = text.replace(large, small)
    return text


def run(words: Sequence[str]) -> None:
    """Run a command in this process, in the current folder."""
    argv = [*map(stand_in, words), *_SMALL.get(tuple(words[:2]), ())]
    if "--config" in argv:  # of this folder, not of the package
        place = argv.index("--config") + 1
        argv[place] = f"configs/{pathlib.Path(argv[place]).stem}.py"
    assert cli.main(arguments(argv)) == 0


def build(setting_up: Iterable[Sequence[str]], *, method: str) -> None:
    """Fill the current folder; `setting_up` prepares `data` and trains `runs/w32`.

    That run starts from nothing: the weights to start from are made of it.
    """
    config = _CONFIG.format(path=str(ROOT / "tests/tiny_config.py"), method=method)
    configs = pathlib.Path("configs")
    configs.mkdir()
    for path in ROOT.glob("configs/[!_]*.py"):
        (configs / path.name).write_text(config)
    drawn = pathlib.Path("data/coco")
    write_drawn_dataset(drawn, num_train=8, num_val=4, size=96, seed=0, progress=False)
    for words in setting_up:
        run([word for word in words if not word.startswith("--config.init_from=")])
    shutil.copytree(drawn, "demo/data")
    shutil.copytree("runs/w32", "demo/run")
    shutil.copytree("runs/w32", "dekr_w32_coco")  # a folder comes before a name
    shutil.copytree(drawn / "val2017", "photos")
    shutil.copy(next(drawn.glob("val2017/*.jpg")), "photo.jpg")
    for name in ("model.pth.tar", "IMAGENET_HRNET.pth"):
        run(["logocap", "convert", "runs/w32", name, "--to", "torch"])
