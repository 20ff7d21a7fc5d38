"""As many people are found in a scene as it has."""

import jax
import numpy as np
import pytest

from logocap_jax.methods import find_method
from logocap_jax.methods.higherhrnet.config import HigherHRNetConfig
from logocap_jax.methods.higherhrnet.stages import make_stages
from logocap_jax.methods.stages import run_stages


@pytest.mark.parametrize("people", [1, 12])
def test_people_of_a_scene_are_found(people):
    config = HigherHRNetConfig()
    scene = find_method("higherhrnet").scene(config)
    assert scene.most_people == 30
    arrays = {name: x[None] for name, x in scene.draw(people, (128, 160)).items()}
    wanted = ("member", "valid")

    def run(arrays):
        return run_stages(
            make_stages(config), {}, arrays | {"valid_size": None}, wanted
        )

    found = jax.device_get(jax.jit(run)(arrays))
    assert found["valid"].sum() == people
    share = (found["member"][0, :people] >= 0).mean()
    assert share == pytest.approx(0.75, abs=0.05)
    assert np.all(found["member"][0, people:] == -1)
