"""Activation elements of convolutional networks: outputs of convolution layers, one sample, 224 x 224 pixels.

The linear layers at the end add less than 0.1 % and are left out. Counted from the architectures of He et al. 2016 (stride in
the 3 x 3 convolution, as in torchvision) and Simonyan & Zisserman 2015.
"""

from __future__ import annotations

_RESNETS = {
    "resnet-18": (False, (2, 2, 2, 2)),
    "resnet-50": (True, (3, 4, 6, 3)),
    "resnet-101": (True, (3, 4, 23, 3)),
    "resnet-152": (True, (3, 8, 36, 3)),
}
# Channels of each convolution; "M" halves the picture.
_VGG_16 = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")


def resnet(bottleneck: bool, blocks: tuple[int, ...]) -> int:
    """Return the elements of a residual network of (bottleneck) blocks."""
    side = 112
    total = 64 * side * side
    side, channels_in = 56, 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        out = width * (4 if bottleneck else 1)
        for block in range(count):
            after = side // 2 if stage and not block else side
            if bottleneck:
                total += width * side * side + (width + out) * after * after
            else:
                total += 2 * width * after * after
            if not block and (channels_in != out or after != side):
                total += out * after * after
            side, channels_in = after, out
    return total


def vgg(layers: tuple[int | str, ...] = _VGG_16) -> int:
    """Return the elements of a VGG network."""
    side, total = 224, 0
    for layer in layers:
        if isinstance(layer, str):
            side //= 2
        else:
            total += layer * side * side
    return total


def counted() -> dict[str, int]:
    """Return model id → activation elements a sample."""
    return {id: resnet(*shape) for id, shape in _RESNETS.items()} | {"vgg-16": vgg()}
