"""Shape of every array of a model, from its sizes.

Written down apart from the Linen modules so that a file is checked in full without
building a network (and without JAX); a test holds the two against each other.
"""

from collections.abc import Iterator

from logocap_jax.weights.architecture import Architecture

Shape = tuple[int, ...]
_Shapes = Iterator[tuple[str, Shape]]


def expected_shapes(architecture: Architecture) -> dict[str, Shape]:
    """Path and shape of every array that a model of this architecture has."""
    shapes = dict(_backbone(architecture))
    for part in (_heads(architecture), _maps(architecture)):
        shapes |= dict(part)
    return shapes


def _backbone(sizes: Architecture) -> _Shapes:
    root, stem, c = "dense/backbone", sizes.stem_channels, sizes.channels
    yield from _conv(f"{root}/stem_conv1", 3, 3, stem)
    yield from _norm(f"{root}/stem_norm1", stem)
    yield from _conv(f"{root}/stem_conv2", 3, stem, stem)
    yield from _norm(f"{root}/stem_norm2", stem)
    width = 4 * sizes.layer1_channels
    for i in range(sizes.layer1_blocks):
        name = f"{root}/layer1_block{i}"
        yield from _bottleneck(name, width if i else stem, sizes.layer1_channels)
    yield from _conv_norm(f"{root}/transition1_branch0", 3, width, c)
    yield from _conv_norm(f"{root}/transition1_branch1", 3, width, 2 * c)
    yield from _conv_norm(f"{root}/transition2_branch2", 3, 2 * c, 4 * c)
    yield from _conv_norm(f"{root}/transition3_branch3", 3, 4 * c, 8 * c)
    for stage, modules in enumerate(sizes.modules, start=2):
        widths = [c * 2**b for b in range(stage)]
        for m in range(modules):
            name = f"{root}/stage{stage}_module{m}"
            yield from _exchange_module(name, widths, sizes.blocks)


def _bottleneck(name: str, inputs: int, hidden: int) -> _Shapes:
    outputs = 4 * hidden
    yield from _conv(f"{name}/conv1", 1, inputs, hidden)
    yield from _conv(f"{name}/conv2", 3, hidden, hidden)
    yield from _conv(f"{name}/conv3", 1, hidden, outputs)
    for n, width in enumerate((hidden, hidden, outputs), start=1):
        yield from _norm(f"{name}/norm{n}", width)
    if inputs != outputs:
        yield from _conv(f"{name}/shortcut_conv", 1, inputs, outputs)
        yield from _norm(f"{name}/shortcut_norm", outputs)


def _exchange_module(name: str, widths: list[int], blocks: int) -> _Shapes:
    for b, width in enumerate(widths):
        for j in range(blocks):
            for n in (1, 2):
                block = f"{name}/branch{b}_block{j}"
                yield from _conv(f"{block}/conv{n}", 3, width, width)
                yield from _norm(f"{block}/norm{n}", width)
    for target, outputs in enumerate(widths):
        for source, inputs in enumerate(widths):
            fuse = f"{name}/fuse{target}_from{source}"
            if source > target:
                yield from _conv_norm(f"{fuse}_step0", 1, inputs, outputs)
            for step in range(target - source):
                last = step == target - source - 1
                size = outputs if last else inputs
                yield from _conv_norm(f"{fuse}_step{step}", 3, inputs, size)


def _heads(sizes: Architecture) -> _Shapes:
    features, keypoints = 15 * sizes.channels, sizes.num_keypoints or 0
    heads: tuple[tuple[str, int | None, int | None], ...] = (
        ("heatmap_head", sizes.heatmap_hidden, keypoints + 1),
        ("offset_head", sizes.offset_hidden, 2 * keypoints),
        ("embedding_head", sizes.embedding, None),
    )
    for name, hidden, outputs in heads:
        if hidden is not None:
            yield from _conv_norm(f"dense/{name}", 1, features, hidden)
            if outputs is not None:
                yield from _conv(f"dense/{name}/output", 1, hidden, outputs, bias=True)


def _maps(sizes: Architecture) -> _Shapes:
    if sizes.message_channels is None:
        return
    keypoints, affines = sizes.num_keypoints or 0, sizes.affines or 0
    inputs = keypoints * (sizes.embedding or 0)
    for i, width in enumerate(sizes.message_channels):
        name = f"maps/message{i}"
        yield from _conv(f"{name}_conv", 3, inputs, width)
        if i == 1:
            yield from _attentive_norm(f"{name}_norm", width, affines)
        else:
            yield from _norm(f"{name}_norm", width)
        inputs = width
    yield from _conv("maps/output", 1, inputs, keypoints, bias=True)


def _conv_norm(name: str, kernel: int, inputs: int, outputs: int) -> _Shapes:
    yield from _conv(f"{name}/conv", kernel, inputs, outputs)
    yield from _norm(f"{name}/norm", outputs)


def _conv(
    name: str, kernel: int, inputs: int, outputs: int, *, bias: bool = False
) -> _Shapes:
    yield f"params/{name}/kernel", (kernel, kernel, inputs, outputs)
    if bias:
        yield f"params/{name}/bias", (outputs,)


def _norm(name: str, width: int) -> _Shapes:
    yield f"params/{name}/scale", (width,)
    yield f"params/{name}/bias", (width,)
    yield from _statistics(name, width)


def _attentive_norm(name: str, width: int, affines: int) -> _Shapes:
    yield f"params/{name}/scale", (affines, width)
    yield f"params/{name}/bias", (affines, width)
    yield f"params/{name}/attention/kernel", (width, affines)
    yield from _statistics(f"{name}/norm", width)


def _statistics(name: str, width: int) -> _Shapes:
    yield f"batch_stats/{name}/mean", (width,)
    yield f"batch_stats/{name}/var", (width,)
