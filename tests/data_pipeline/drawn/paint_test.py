import numpy as np
import pytest

from data_pipeline.drawn.paint import (
    Material,
    Shape,
    contrasting,
    ellipse,
    hull_of_discs,
    paint,
)

BLACK, WHITE = np.zeros(3), np.full(3, 255.0)


def material(texture: str = "plain") -> Material:
    colors = np.stack([WHITE, BLACK])
    return Material(texture, colors, 1.0, np.eye(8), np.array([255.0, 0.0, 0.0]))


def square(low: float, high: float) -> Shape:
    corners = [[low, low], [high, low], [high, high], [low, high]]
    return Shape(np.array(corners), np.array([[low, low], [low, high]]))


def test_paint_fills_the_pixels_whose_centers_lie_in_the_shape():
    canvas = np.zeros((8, 8, 3), np.uint8)
    rows, columns = paint(
        canvas, square(2.0, 5.0), material(), unit=1.0, line=0, shade=0.0
    )
    expected = np.zeros((8, 8), bool)
    expected[2:6, 2:6] = True
    np.testing.assert_array_equal(canvas[..., 0] == 255, expected)
    painted = np.zeros((8, 8), bool)
    painted[rows, columns] = True
    np.testing.assert_array_equal(painted, expected)


@pytest.mark.parametrize("low", [-6.0, 30.0, 5.0])
def test_paint_leaves_alone_what_lies_outside_the_canvas(low):
    canvas = np.zeros((8, 8, 3), np.uint8)
    rows, columns = paint(canvas, square(low, low + 4), material(), unit=1.0, line=1)
    assert rows.size == columns.size == np.count_nonzero(canvas[..., 0])
    assert (rows.size > 0) == (low == 5.0)


def test_outlines_are_drawn_in_ink():
    canvas = np.zeros((20, 20, 3), np.uint8)
    paint(canvas, square(4.0, 14.0), material(), unit=1.0, line=1, shade=0.0)
    assert tuple(canvas[4, 9]) == (255, 0, 0)
    assert tuple(canvas[9, 9]) == (255, 255, 255)


def test_sides_are_darker_than_the_middle():
    canvas = np.zeros((20, 20, 3), np.uint8)
    paint(canvas, square(0.0, 19.0), material(), unit=1.0, line=0, shade=0.5)
    assert canvas[10, 9, 0] > canvas[10, 0, 0]
    assert canvas[10, 9, 0] > canvas[10, 19, 0]


def test_stripes_cross_the_axis_twice_per_repeat():
    along = np.array([0.1, 0.4, 0.6, 0.9, 1.1, -0.1, -0.6], np.float32)
    shares = material("stripes").mix(along, np.zeros_like(along))
    np.testing.assert_array_equal(shares, [0, 0, 1, 1, 0, 1, 0])


def test_checks_alternate_along_and_across():
    along = np.array([0.1, 0.6, 0.1, 0.6], np.float32)
    across = np.array([0.1, 0.1, 0.6, 0.6], np.float32)
    np.testing.assert_array_equal(material("checks").mix(along, across), [0, 1, 1, 0])


def test_hull_of_discs_is_a_capsule_of_the_given_radii():
    shape = hull_of_discs(np.array([[0.0, 0.0], [10.0, 0.0]]), np.array([2.0, 1.0]))
    np.testing.assert_allclose(shape.outline.min(axis=0), [-2, -2], atol=1e-6)
    np.testing.assert_allclose(shape.outline.max(axis=0), [11, 2], atol=1e-6)
    np.testing.assert_array_equal(shape.axis, [[0, 0], [10, 0]])


def test_ellipse_reaches_its_semi_axes():
    shape = ellipse(np.array([5.0, 5.0]), np.array([0.0, 3.0]), np.array([2.0, 0.0]))
    np.testing.assert_allclose(shape.outline.min(axis=0), [3, 2])
    np.testing.assert_allclose(shape.outline.max(axis=0), [7, 8])


@pytest.mark.parametrize("level", [0.0, 60.0, 129.0, 131.0, 250.0])
def test_contrasting_colors_differ_strongly(level):
    assert abs(contrasting(np.full(3, level)).mean() - level) > 80
