import dataclasses
import pathlib

import jax
import pytest

from configs import ranking_steps
from logocap_jax.experiment.run import learning_rate, resolve
from logocap_jax.experiment.settings import load_config, read_settings
from logocap_jax.methods.initial_poses import InitialPosesConfig
from logocap_jax.methods.logocap.config import LogoCapConfig

FOLDER = pathlib.Path(__file__).parents[1] / "configs"
NAMES = sorted(
    path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("__")
)
# Sections 3 to 10 of the method's description; W48 has a wider heatmap head.
PAPER = {
    "offset_hidden": 256,
    "heatmap_sigma": 2.0,
    "center_sigma": 4.0,
    "offset_radius": 4,
    "background_weight": 0.1,
    "smooth_l1_beta": 1 / 9,
    "offset_loss_weight": 0.01,
    "center_threshold": 0.01,
    "embedding": 64,
    "message_channels": (512, 256, 128),
    "affines": 20,
    "mesh_size": 11,
    "window_radius": 48,
    "window_sigma": 16.0,
    "refined_sigma": 4.0,
    "match_threshold": 0.5,
    "kam_loss_weight": 0.01,
}
FULL_SIZE = ["center_offset_w32_coco", "logocap_w32_coco", "logocap_w48_coco"]


def test_the_configs_are_found():
    assert {*FULL_SIZE, "demo", "coco_mini"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_locked_all_through(name):
    config = load_config(name)
    for part in (config, config.method, config.data, config.eval):
        assert part.is_locked
        with pytest.raises(AttributeError):
            part.no_such_key = 1


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_made_anew_for_each_caller(name):
    load_config(name).batch_size = 999
    assert load_config(name).batch_size != 999


@pytest.mark.parametrize("name", NAMES)
def test_a_method_initialises_and_has_a_result(name):
    config = load_config(name)
    method = resolve(config).method
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    assert shapes.keys() == {"params", "batch_stats"}
    leaves = jax.tree.leaves(shapes)
    assert {str(leaf.dtype) for leaf in leaves} == {"float32"}
    expected = {"center_offset": "initial"}
    assert method.answer == expected.get(config.method.name, config.method.name)


@pytest.mark.parametrize("name", NAMES)
def test_the_learning_rate_falls_within_the_run(name):
    config = load_config(name)
    rate = learning_rate(read_settings(config.to_dict()), steps_per_epoch=10)
    last = round(config.epochs * 10) - 1
    decays = config.lr_decay ** len(config.lr_milestones)
    warm = round(config.lr_warmup * 10)
    assert float(rate(warm)) == pytest.approx(config.learning_rate)
    assert float(rate(last)) == pytest.approx(config.learning_rate * decays, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_fit_the_strides_of_the_net(name):
    config = load_config(name)
    assert config.data.input_size % 32 == 0
    assert config.eval.short_side % 32 == 0


@pytest.mark.parametrize("name", FULL_SIZE)
def test_training_is_that_of_the_paper(name):
    config = load_config(name)
    assert config.epochs == 140
    assert config.lr_milestones == (90, 120)
    assert config.learning_rate == 1e-3
    assert config.lr_decay == 0.1
    assert config.lr_warmup == 0
    assert config.lr_scaling == "none"
    assert config.optimizer == "adam"
    assert config.weight_decay == config.clip_norm == config.ema_decay == 0
    assert config.accumulate == 1
    large = name == "logocap_w48_coco"
    assert config.batch_size == (32 if large else 48)
    assert config.data.input_size == (640 if large else 512)
    assert config.eval.short_side == (640 if large else 512)
    assert config.method.backbone.channels == (48 if large else 32)
    assert config.method.flip_test
    assert config.method.num_slots == 30
    assert config.data.augmentation.to_dict() == {
        "rotation_deg": 30,
        "scale_min": 0.75,
        "scale_max": 1.5,
        "translation": 40,
        "mirror": 0.5,
    }


@pytest.mark.parametrize(
    ("name", "size", "batch", "epochs", "milestones", "least_area"),
    [
        ("dekr_w32_coco", 512, 40, 140, (90, 120), 32**2),
        ("dekr_w48_coco", 640, 40, 140, (90, 120), 32**2),
        ("dekr_w32_crowdpose", 512, 40, 300, (200, 260), 0),
        ("dekr_w48_crowdpose", 640, 40, 300, (200, 260), 0),
        # Its rate falls as the epoch begins.
        ("ranking_w32_coco", 512, 48, 140, (89, 119), 32**2),
        ("ranking_w48_coco", 640, 32, 140, (89, 119), 32**2),
        ("ranking_higher_w48_coco", 640, 32, 140, (89, 119), 32**2),
    ],
)
def test_training_of_a_sibling_is_that_of_its_paper(
    name, size, batch, epochs, milestones, least_area
):
    config = load_config(name)
    assert config.data.input_size == config.eval.short_side == size
    assert config.method.heatmap_hidden == config.method.backbone.channels
    assert config.batch_size == batch
    assert config.epochs == epochs
    assert config.lr_milestones == milestones
    assert config.data.min_center_area == least_area
    assert config.method.quirks == "reference"


@pytest.mark.parametrize("name", FULL_SIZE)
def test_settings_that_configs_leave_out_are_those_of_the_paper(name):
    settings = load_config(name).method.to_dict()
    kind = LogoCapConfig if settings.pop("name") == "logocap" else InitialPosesConfig
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    used = defaults | settings
    expected = {key: value for key, value in PAPER.items() if key in defaults}
    assert {key: used[key] for key in expected} == expected
    channels = settings["backbone"]["channels"]
    assert used["heatmap_hidden"] == channels


@pytest.mark.parametrize("base", ranking_steps.BASES)
@pytest.mark.parametrize("step", ranking_steps.STEPS)
def test_a_step_of_the_ranking_ablation_has_its_settings(step, base):
    config = load_config(f"ranking_steps:{step},{base}")
    settings = ranking_steps.STEPS[step].settings
    assert {key: config.method[key] for key in settings} == settings
    assert resolve(config).method.answer == "ranking"


@pytest.mark.parametrize("choice", ["nothing", "plain,nothing"])
def test_an_unknown_step_is_refused_in_one_line(choice):
    with pytest.raises(ValueError, match="expected one of") as error:
        ranking_steps.get_config(choice)
    assert "\n" not in str(error.value)
