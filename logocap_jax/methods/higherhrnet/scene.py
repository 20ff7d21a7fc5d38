"""Maps of a chosen number of people, to measure what follows them."""

import numpy as np

from logocap_jax.methods.base import Scene
from logocap_jax.methods.higher_maps import FINE
from logocap_jax.methods.higherhrnet.config import HigherHRNetConfig
from logocap_jax.methods.scene import draw_people

_APART = 3.0  # tags of one person and the next
_MISSING = 4  # one of so many joints


def make_scene(config: HigherHRNetConfig) -> Scene:
    """Scenes of heatmaps and tags at stride 2; a quarter of the joints is missing."""

    def draw(people: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
        height, width = (side // FINE for side in size)
        drawn = draw_people(
            people,
            height=height,
            width=width,
            num_keypoints=config.skeleton.num_keypoints,
        )
        count, components = config.num_heatmaps, 1 + int(config.flip_test)
        tags = _APART * drawn.owner[..., None, None]
        tags = np.broadcast_to(tags, (height, width, count, components))
        missing = (drawn.owner[..., None] + np.arange(count)) % _MISSING == 0
        half = np.where(missing, 0, drawn.heatmaps[..., :count])
        return {"half": half.astype(np.float32), "half_tags": tags.astype(np.float32)}

    return Scene(min(config.num_candidates, config.max_people), draw)
