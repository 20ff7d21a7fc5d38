import jax
import numpy as np
import pytest

from logocap_jax.methods.initial_poses import InitialPosesConfig, decode_initial
from logocap_jax.methods.scene import draw_maps


@pytest.mark.parametrize(
    ("people", "height", "width"),
    [(1, 16, 16), (4, 16, 16), (30, 128, 128), (30, 128, 192), (7, 64, 16)],
)
def test_as_many_people_are_found_as_were_drawn(people, height, width):
    maps = draw_maps(people, height=height, width=width, num_keypoints=17, embedding=2)
    found = jax.jit(decode_initial, static_argnums=2)(
        maps["heatmaps"][..., -1],
        maps["offsets"],
        InitialPosesConfig(center_threshold=1e-6),
    )
    assert int(found.valid.sum()) == people
    assert float(found.center_values[:people].min()) > 0.5
    # The keypoints lie where the heatmaps have their peaks.
    cells = np.rint(np.asarray(found.keypoints[:people]) / 4).astype(int)
    near = maps["heatmaps"][cells[..., 1], cells[..., 0], np.arange(17)]
    assert near.min() > 0.5


def test_too_many_people_for_the_image_are_refused():
    with pytest.raises(ValueError, match=r"got 5 people, .* 8 cells for each on"):
        draw_maps(5, height=16, width=16, num_keypoints=17, embedding=2)
