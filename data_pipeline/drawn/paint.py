"""Paint: textured, shaded and outlined convex shapes on a pixel canvas."""

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

_TEXTURES = ("plain", "plain", "stripes", "checks", "noise", "gradient")
_CIRCLE = np.stack(
    [np.cos(np.arange(16) * np.pi / 8), np.sin(np.arange(16) * np.pi / 8)], axis=-1
)
_SHIFT = 4  # Fractional bits of the coordinates that OpenCV's polygons take.


@dataclasses.dataclass(frozen=True)
class Material:
    """A texture, in coordinates along and across the shape that wears it."""

    texture: str  #: `plain`, `stripes`, `checks`, `noise` or `gradient`
    colors: Float[np.ndarray, "2 3"]  #: the two RGB colours it mixes, 0..255
    frequency: float  #: repeats per unit of length
    grid: Float[np.ndarray, "8 8"]  #: shares of the second colour that `noise` repeats
    ink: Float[np.ndarray, "3"]  #: RGB colour of the outline, 0..255

    def mix(
        self, along: Float[np.ndarray, " N"], across: Float[np.ndarray, " N"]
    ) -> Float[np.ndarray, " N"]:
        """Share 0..1 of the second colour; positions in units of length."""
        if self.texture == "plain":
            return np.zeros_like(along)
        rows, columns = along * self.frequency, across * self.frequency
        if self.texture == "gradient":
            return np.clip(rows / 3, 0.0, 1.0)
        # Truncation mirrors what is negative: 64 repeats are longer than any shape.
        row_numbers = (2 * (rows + 64)).astype(np.int32)
        column_numbers = (2 * (columns + 64)).astype(np.int32)
        if self.texture == "noise":
            return self.grid[row_numbers % 8, column_numbers % 8]
        if self.texture == "checks":
            row_numbers += column_numbers
        return (row_numbers % 2).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Shape:
    """A convex outline and the axis its texture and its shading follow."""

    outline: Float[np.ndarray, "N 2"]  #: corners `(x, y)`
    axis: Float[np.ndarray, "2 2"]  #: start and end `(x, y)`

    def moved(self, scale: float, shift: Float[np.ndarray, "2"]) -> "Shape":
        """The shape `scale * point + shift`."""
        return Shape(self.outline * scale + shift, self.axis * scale + shift)


def hull_of_discs(
    centers: Float[np.ndarray, "N 2"], radii: Float[np.ndarray, " N"]
) -> Shape:
    """Convex hull of discs: a disc, a tapered capsule or a rounded trunk.

    The axis runs from the first centre to the last.
    """
    rims = centers[:, None] + radii[:, None, None] * _CIRCLE  # [N, 16, 2]
    outline = cv2.convexHull(rims.reshape(-1, 2).astype(np.float32))[:, 0]
    return Shape(outline.astype(np.float64), centers[[0, -1]])


def ellipse(
    center: Float[np.ndarray, "2"],
    along: Float[np.ndarray, "2"],
    across: Float[np.ndarray, "2"],
) -> Shape:
    """An ellipse by its semi-axes; texture and shading follow `along`."""
    outline = center + _CIRCLE @ np.stack([along, across])
    return Shape(outline, np.stack([center - along, center + along]))


def paint(
    canvas: UInt8[np.ndarray, "H W 3"],
    shape: Shape,
    material: Material,
    *,
    unit: float,
    line: int,
    shade: float = 0.4,
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Fill a shape, darker towards its sides, and draw its outline, in place.

    The shape is in canvas pixels (pixel centres at integers), `unit` the canvas pixels
    of one unit of length of the material, `line` the thickness of the outline in pixels
    (0: none), `shade` the share of the light that is lost at the sides. Returns rows
    and columns of the painted pixels.
    """
    bounds = np.array(canvas.shape[1::-1])
    low = np.floor(shape.outline.min(axis=0)).astype(int) - line - 1
    high = np.ceil(shape.outline.max(axis=0)).astype(int) + line + 2
    low = np.minimum(np.maximum(low, 0), bounds)
    high = np.minimum(np.maximum(high, low), bounds)
    mask = np.zeros((high - low)[::-1], np.uint8)
    corners = np.rint((shape.outline - low) * 2**_SHIFT).astype(np.int32)
    if mask.size:
        cv2.fillPoly(mask, [corners], 1, cv2.LINE_8, _SHIFT)
        if line:
            cv2.polylines(mask, [corners], True, 2, line, cv2.LINE_8, _SHIFT)
    rows, columns = np.nonzero(mask)
    inked = mask[rows, columns] == 2
    rows, columns = rows + low[1], columns + low[0]
    along, across, side = _axis_coordinates(shape, rows, columns)
    # Light falls in from one side of the axis.
    light = 1.0 - shade * ((side + 0.25) / 1.25) ** 2
    second = light * material.mix(along / unit, across / unit)
    shares = np.stack([light - second, second], axis=1)
    colors = shares @ material.colors.astype(np.float32)
    colors[inked] = material.ink
    canvas[rows, columns] = colors
    return rows, columns


def _axis_coordinates(
    shape: Shape, rows: Int[np.ndarray, " N"], columns: Int[np.ndarray, " N"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels along and across the axis, and across as a share -1..1 of the width."""
    start, end = shape.axis
    length = float(np.hypot(*(end - start)))
    # A bone that points at the viewer has no direction; any will do.
    cos, sin = (end - start) / length if length > 1e-6 else (0.0, 1.0)
    x = columns.astype(np.float32) - np.float32(start[0])
    y = rows.astype(np.float32) - np.float32(start[1])
    along = np.float32(cos) * x + np.float32(sin) * y
    across = np.float32(cos) * y - np.float32(sin) * x
    edges = (shape.outline - start) @ [-sin, cos]
    left, right = np.float32(edges.min()), np.float32(edges.max())
    side = 2 * (across - left) / (right - left) - 1
    return along, across, np.minimum(np.maximum(side, -1), 1)


def random_color(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """A random colour, skin tone or grey, RGB 0..255, for any surface alike."""
    kind = rng.random()
    if kind < 0.5:
        vivid, grey = rng.uniform(25, 245, 3), rng.uniform(40, 225)
        return grey + rng.uniform(0.2, 1.0) * (vivid - grey)
    if kind < 0.85:
        dark, pale = np.array([[70.0, 42.0, 28.0], [245.0, 208.0, 180.0]])
        tone = dark + rng.random() * (pale - dark)
        return np.clip(tone + rng.normal(0, 12, 3), 0, 255)
    return np.clip(np.full(3, rng.uniform(25, 235)) + rng.normal(0, 5, 3), 0, 255)


def random_material(
    rng: np.random.Generator, *, texture: str | None = None, frequency: float = 9.0
) -> Material:
    """A random material; None draws a texture; `frequency` is typical."""
    first, second = random_color(rng), random_color(rng)
    return Material(
        texture=texture or _TEXTURES[rng.integers(len(_TEXTURES))],
        colors=np.stack([first, second]),
        frequency=frequency * rng.uniform(0.5, 1.5),
        grid=rng.random((8, 8)),
        ink=contrasting(first) if rng.random() < 0.15 else 0.45 * first,
    )


def contrasting(color: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """A much darker version of a light colour (RGB, 0..255), or the reverse."""
    return 0.2 * color if color.mean() > 130 else 255 - 0.35 * (255 - color)
