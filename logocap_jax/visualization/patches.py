"""Small maps around keypoints: where around each rough one the true one is expected."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from logocap_jax.skeletons import Skeleton
from logocap_jax.visualization.canvas import Color, blank, measure_text, write_text
from logocap_jax.visualization.overlay import side_color
from logocap_jax.visualization.samples import Samples

_WHITE = (255, 255, 255)
_BLACK = (0, 0, 0)
# Sides of the tiles in rows, and the height of the overlay above them, px.
_ROW_SIDE, _OVERLAY_HEIGHT = 88, 560
# A tile shows so many times as much of the image as the map covers.
_CONTEXT = 1.6


class Patches(NamedTuple):
    """The small maps of one person."""

    values: Float[np.ndarray, "E E K"]  #: 0..1; axis 0 runs along y
    initial: Float[np.ndarray, "K 2"]  #: initial keypoints, the maps' middles; image px
    #: From its middle to the outermost positions of a map, image px.
    radius: Float[np.ndarray, " K"]
    refined: Float[np.ndarray, "K 2"]  #: refined keypoints, image px

    @property
    def num_keypoints(self) -> int:
        """K."""
        return self.values.shape[2]

    def draw_tile(
        self, image: UInt8[np.ndarray, "H W 3"], index: int, color: Color, side: int
    ) -> UInt8[np.ndarray, "{side} {side} 3"]:
        """Draw one keypoint: the image around it, under its map.

        A ring is where the initial keypoint was, a dot in its color the refined one.
        The brighter, the larger the value; the number is the largest. Arguments are as
        in `Samples.draw_tile`.
        """
        values = np.clip(self.values[..., index], 0, 1).astype(np.float32)
        cells = len(values)
        spacing = 2 * self.radius[index] / max(1, cells - 1)  # image px
        # From image px to px of the tile: `cells` positions, and the context around.
        scale = side / (_CONTEXT * cells * spacing)
        middle = (side - 1) / 2
        to_tile = np.column_stack(
            [scale * np.eye(2), middle - scale * self.initial[index]]
        )
        photo = cv2.warpAffine(image, to_tile, (side, side), flags=cv2.INTER_LINEAR)
        step = scale * spacing
        map_to_tile = np.column_stack(
            [step * np.eye(2), np.full(2, middle - step * (cells - 1) / 2)]
        )
        levels = (255 * values).astype(np.uint8)
        colors = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
        layer = np.dstack([colors, np.full_like(levels, 255)])
        layer = cv2.warpAffine(
            layer, map_to_tile, (side, side), flags=cv2.INTER_NEAREST
        )
        opacity = 0.65 * (layer[..., 3:].astype(np.float32) / 255)
        mixed = 0.7 * photo * (1 - opacity) + layer[..., :3] * opacity
        tile = mixed.astype(np.uint8)
        refined = to_tile[:, :2] @ self.refined[index] + to_tile[:, 2]
        _mark(tile, np.full(2, middle), refined, color)
        _number(tile, f"{values.max():.2f}")
        return tile


def draw_patches(
    image: UInt8[np.ndarray, "H W 3"],
    person: Patches | Samples,
    *,
    skeleton: Skeleton,
    columns: int = 6,
    side: int = 128,
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Draw a tile of `side` px for each keypoint, in the color of its side.

    Raises:
      ValueError: if there are other than K maps.
    """
    count = person.num_keypoints
    if count != skeleton.num_keypoints:
        raise ValueError(
            f"got {count} maps, expected those of the "
            f"{skeleton.num_keypoints} keypoints of skeleton {skeleton.name!r}"
        )
    gap = _gap(side)
    sheet = blank(*_sheet_size(count, columns, side))
    for index in range(count):
        color = side_color(skeleton, index)
        picture = person.draw_tile(image, index, color, side)
        title = _title(skeleton.keypoints[index], side, color)
        tile = np.concatenate([title, picture])
        row, column = divmod(index, columns)
        y, x = gap + row * (len(tile) + gap), gap + column * (side + gap)
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet


def draw_patch_rows(
    overlay: UInt8[np.ndarray, "H W 3"],
    image: UInt8[np.ndarray, "H0 W0 3"],
    people: Sequence[Patches | Samples],
    *,
    labels: Sequence[str],
    skeleton: Skeleton,
    rows: int,
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Draw an overlay and, below, a row of tiles for each person after its label.

    The overlay is scaled to 560 px in height, or to the width of the rows, whichever is
    less; so the size of the picture depends on no person.

    Args:
      overlay: RGB, the people with their labels.
      image: RGB, for the tiles.
      people: in the order of the rows.
      labels: texts before their rows.
      skeleton: names of the K keypoints.
      rows: number of rows; further people are left out, missing ones are blank.

    Raises:
      ValueError: as `draw_patches` does.
    """
    side = _ROW_SIDE
    margin = side // 2
    height, width = _sheet_size(skeleton.num_keypoints, skeleton.num_keypoints, side)
    picture = _fitted(overlay, margin + width, _OVERLAY_HEIGHT)
    top = len(picture)
    sheet = blank(top + rows * height, margin + width)
    sheet[:top, : picture.shape[1]] = picture
    for row, (person, label) in enumerate(zip(people[:rows], labels, strict=False)):
        y = top + row * height
        sheet[y : y + height, margin:] = draw_patches(
            image, person, skeleton=skeleton, columns=skeleton.num_keypoints, side=side
        )
        line = measure_text(label, side // 7)
        corner = ((margin - line.width) // 2, y + (height - line.height) // 2)
        write_text(sheet, line, corner)
    return sheet


def _fitted(
    picture: UInt8[np.ndarray, "H W 3"], width: int, height: int
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Shrink or enlarge a picture until it is just as wide or as high."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = [max(1, round(scale * side)) for side in picture.shape[1::-1]]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(picture, size, interpolation=method)


def _sheet_size(count: int, columns: int, side: int) -> tuple[int, int]:
    """Height and width of a sheet of `count` tiles."""
    gap = _gap(side)
    tile_height = side + 2 * _letters(side)
    return -(-count // columns) * (tile_height + gap) + gap, columns * (
        side + gap
    ) + gap


def _gap(side: int) -> int:
    return max(2, side // 32)


def _letters(side: int) -> int:
    return max(7, side // 13)


def _mark(
    tile: UInt8[np.ndarray, "H W 3"],
    initial: Float[np.ndarray, "2"],
    refined: Float[np.ndarray, "2"],
    color: Color,
) -> None:
    side = len(tile)
    unit = max(3, side // 32)
    # A point outside is drawn at the border that it lies behind.
    x, y = np.rint(np.clip(refined, unit, side - 1 - unit)).astype(int).tolist()
    center = tuple(np.rint(initial).astype(int).tolist())
    cv2.circle(tile, center, 2 * unit, _BLACK, unit, cv2.LINE_AA)
    cv2.circle(tile, center, 2 * unit, _WHITE, max(1, unit // 2), cv2.LINE_AA)
    cv2.circle(tile, (x, y), round(1.6 * unit), _BLACK, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(tile, (x, y), unit, color, cv2.FILLED, cv2.LINE_AA)


def _number(tile: UInt8[np.ndarray, "H W 3"], number: str) -> None:
    line = measure_text(number, max(7, len(tile) // 14))
    corner = (3, len(tile) - line.height - 4)
    write_text(tile, line._replace(thickness=line.thickness + 2), corner, _BLACK)
    write_text(tile, line, corner)


def _title(name: str, side: int, color: Color) -> UInt8[np.ndarray, "H W 3"]:
    letters = _letters(side)
    words = name.replace("left_", "L ").replace("right_", "R ")
    line = measure_text(words, letters)
    bar = blank(2 * letters, side)
    write_text(bar, line, (max(0, (side - line.width) // 2), letters // 2), color)
    return bar
