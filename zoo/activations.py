"""Activation elements of networks that are not lowered by layers: outputs of convolution and linear layers, one sample.

A fused network writes and reads these once; normalisations, activations, pooling, residual sums and attention scores stay on the
chip. Layers that see one vector a sample (classifiers, time embeddings) are left out: less than 0.1 %, 2 % for AlexNet.
Multiply-adds are tallied along the way, so that each architecture is checked against its published count.

Architectures as in torchvision (Krizhevsky 2014; Simonyan & Zisserman 2015; He et al. 2016 with the stride in the 3 x 3
convolution; Sandler et al. 2018; Howard et al. 2019; Tan & Le 2019; Dosovitskiy et al. 2021; Liu et al. 2021, 2022) and diffusers
(Rombach et al. 2022; Podell et al. 2023; FLUX.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Self


@dataclass(slots=True)
class Tally:
    """Elements written and multiply-adds so far; the stream is a picture of `side` squared pixels."""

    side: int = 224
    channels: int = 3
    elements: int = 0
    macs: int = 0

    def conv(self, out: int, kernel: int, stride: int = 1, groups: int = 1, aside: bool = False) -> Self:
        """Add a convolution that pads to keep the side (over its stride); `aside` leaves the stream as it is."""
        side = -(-self.side // stride)
        self.elements += out * side * side
        self.macs += out * side * side * (self.channels // groups) * kernel * kernel
        if not aside:
            self.side, self.channels = side, out
        return self

    def linear(self, rows: int, inputs: int, out: int) -> Self:
        """Add a linear layer over `rows` vectors."""
        self.elements += rows * out
        self.macs += rows * inputs * out
        return self

    def attention(self, rows: int, width: int, keys: int) -> Self:
        """Add the products of queries with keys and of scores with values; both stay on the chip but the last."""
        self.macs += 2 * rows * keys * width
        return self

    def gate(self, squeezed: int) -> Self:
        """Add squeeze-and-excitation: two layers over one vector."""
        self.macs += 2 * squeezed * self.channels
        return self

    def halve(self) -> Self:
        """Pool pictures to half the side."""
        self.side //= 2
        return self

    def classes(self, *widths: int) -> Self:
        """Add the multiply-adds of classifier layers from one width to the next."""
        self.macs += sum(a * b for a, b in pairwise(widths))
        return self


def alexnet() -> Tally:
    """Tally AlexNet as torchvision has it: no padding to the side in the first layer."""
    t = Tally(side=220).conv(64, 11, 4)
    t.side = 27
    t.conv(192, 5)
    t.side = 13
    return t.conv(384, 3).conv(256, 3).conv(256, 3).classes(9216, 4096, 4096, 1000)


def vgg() -> Tally:
    """Tally VGG-16."""
    t = Tally()
    for width, layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(layers):
            t.conv(width, 3)
        t.halve()
    return t.classes(25088, 4096, 4096, 1000)


def resnet(bottleneck: bool, blocks: tuple[int, ...]) -> Tally:
    """Tally a residual network of (bottleneck) blocks."""
    t = Tally().conv(64, 7, 2).halve()
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        out = width * (4 if bottleneck else 1)
        for block in range(count):
            stride = 2 if stage and not block else 1
            if t.channels != out or stride > 1:
                t.conv(out, 1, stride, aside=True)
            if bottleneck:
                t.conv(width, 1).conv(width, 3, stride).conv(out, 1)
            else:
                t.conv(width, 3, stride).conv(out, 3)
    return t.classes(t.channels, 1000)


def _inverted(t: Tally, kernel: int, wide: int, out: int, stride: int, squeezed: int = 0) -> None:
    """Add an inverted residual block: widen, depthwise, narrow; a gate where `squeezed`."""
    if wide != t.channels:
        t.conv(wide, 1)
    t.conv(wide, kernel, stride, groups=wide)
    if squeezed:
        t.gate(squeezed)
    t.conv(out, 1)


def mobilenet_v2() -> Tally:
    """Tally MobileNetV2."""
    t = Tally().conv(32, 3, 2)
    for factor, out, count, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for i in range(count):
            _inverted(t, 3, factor * t.channels, out, stride if not i else 1)
    return t.conv(1280, 1).classes(1280, 1000)


def mobilenet_v3_large() -> Tally:
    """Tally MobileNetV3-Large; gates squeeze to a quarter, in eights."""
    t = Tally().conv(16, 3, 2)
    for kernel, wide, out, gated, stride in (
        (3, 16, 16, False, 1),
        (3, 64, 24, False, 2),
        (3, 72, 24, False, 1),
        (5, 72, 40, True, 2),
        (5, 120, 40, True, 1),
        (5, 120, 40, True, 1),
        (3, 240, 80, False, 2),
        (3, 200, 80, False, 1),
        (3, 184, 80, False, 1),
        (3, 184, 80, False, 1),
        (3, 480, 112, True, 1),
        (3, 672, 112, True, 1),
        (5, 672, 160, True, 2),
        (5, 960, 160, True, 1),
        (5, 960, 160, True, 1),
    ):
        _inverted(t, kernel, wide, out, stride, _eights(wide / 4) if gated else 0)
    return t.conv(960, 1).classes(960, 1280, 1000)


def _eights(width: float) -> int:
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def efficientnet(width: float, depth: float, side: int) -> Tally:
    """Tally an EfficientNet of a width and depth factor; gates squeeze to a quarter of a block's input."""
    t = Tally(side=side).conv(_eights(32 * width), 3, 2)
    for factor, kernel, stride, out, count in (
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    ):
        for i in range(math.ceil(depth * count)):
            _inverted(t, kernel, factor * t.channels, _eights(out * width), stride if not i else 1, t.channels // 4)
    last = 4 * t.channels
    return t.conv(last, 1).classes(last, 1000)


def convnext(depths: tuple[int, ...], width: int) -> Tally:
    """Tally a ConvNeXt: depthwise 7 x 7, four times as wide, back."""
    t = Tally().conv(width, 4, 4)
    for stage, count in enumerate(depths):
        if stage:
            t.conv(2 * t.channels, 2, 2)
        for _ in range(count):
            d = t.channels
            t.conv(d, 7, groups=d).conv(4 * d, 1).conv(d, 1)
    return t.classes(t.channels, 1000)


def _transformer(t: Tally, rows: int, d: int, keys: int, ffn: int) -> None:
    """Add a layer: queries, keys and values, attention, output, MLP."""
    t.linear(rows, d, 3 * d).attention(rows, d, keys).linear(rows, d, d).linear(rows, d, ffn).linear(rows, ffn, d)


def vit(layers: int, d: int, patch: int = 16) -> Tally:
    """Tally a vision transformer with a class token."""
    t = Tally().conv(d, patch, patch)
    tokens = t.side**2 + 1
    for _ in range(layers):
        _transformer(t, tokens, d, tokens, 4 * d)
    return t.classes(d, 1000)


def swin(depths: tuple[int, ...], width: int, window: int = 7) -> Tally:
    """Tally a Swin transformer: attention within windows, patches merged between stages."""
    t = Tally().conv(width, 4, 4)
    for stage, count in enumerate(depths):
        d = t.channels
        if stage:
            t.halve().linear(t.side**2, 4 * d, 2 * d)
            t.channels = d = 2 * d
        for _ in range(count):
            _transformer(t, t.side**2, d, window**2, 4 * d)
    return t.classes(t.channels, 1000)


def unet(widths: tuple[int, ...], depths: tuple[int, ...], middle: int, text: int, side: int) -> Tally:
    """Tally a latent-diffusion UNet: two residual blocks a level down, three up, `depths` transformer layers after each.

    Args:
        middle: transformer layers in the middle block; text: width of the 77 text tokens; side: of the latent.
    """
    t = Tally(side=side, channels=4).conv(widths[0], 3)
    skips = [t.channels]
    for level, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for _ in range(2):
            _residual(t, width)
            _spatial(t, depth, text)
            skips.append(width)
        if level < len(widths) - 1:
            t.conv(width, 3, 2)
            skips.append(width)
    _residual(t, widths[-1])
    _spatial(t, middle, text)
    _residual(t, widths[-1])
    for level, (width, depth) in enumerate(zip(reversed(widths), reversed(depths), strict=True)):
        for _ in range(3):
            t.channels += skips.pop()
            _residual(t, width)
            _spatial(t, depth, text)
        if level < len(widths) - 1:
            t.side *= 2
            t.conv(width, 3)
    return t.conv(4, 3)


def _residual(t: Tally, out: int) -> None:
    if t.channels != out:
        t.conv(out, 1, aside=True)
    t.conv(out, 3).conv(out, 3)


def _spatial(t: Tally, depth: int, text: int) -> None:
    """Add a spatial transformer: self-attention, cross-attention to 77 text tokens, a gated MLP, in and out projections."""
    if not depth:
        return
    d, rows, words = t.channels, t.side**2, 77
    t.conv(d, 1)
    for _ in range(depth):
        t.linear(rows, d, 3 * d).attention(rows, d, rows).linear(rows, d, d)
        t.linear(rows, d, d).linear(words, text, 2 * d).attention(rows, d, words).linear(rows, d, d)
        t.linear(rows, d, 8 * d).linear(rows, 4 * d, d)
    t.conv(d, 1)


def flux(image: int = 4096, words: int = 512, d: int = 3072, double: int = 19, single: int = 38) -> Tally:
    """Tally FLUX.1: blocks with a stream each for image and text, then blocks of one stream."""
    t, rows = Tally(), image + words
    t.linear(image, 64, d).linear(words, 4096, d)
    for _ in range(double):
        _transformer(t, rows, d, rows, 4 * d)
    for _ in range(single):
        t.linear(rows, d, 7 * d).attention(rows, d, rows).linear(rows, 5 * d, d)
    return t.linear(image, d, 64)


# MLPerf's DLRM-v2: rows of each table, rows gathered from it a sample, elements a row.
DLRM_TABLES = (
    *(
        40000000,
        39060,
        17295,
        7424,
        20265,
        3,
        7122,
        1543,
        63,
        40000000,
        3067956,
        405282,
        10,
        2209,
        11938,
        155,
        4,
        976,
        14,
    ),
    *(40000000, 40000000, 40000000, 590152, 12973, 108, 36),
)
DLRM_GATHERED = (3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1)
DLRM_WIDTH = 128


def dlrm() -> Tally:
    """Tally DLRM-v2: 13 dense features through an MLP, three low-rank cross layers over it and 26 pooled rows, an MLP.

    The additions that pool rows (0.1 % of the FLOPs) are left out.
    """
    t, features = Tally(), DLRM_WIDTH * (len(DLRM_TABLES) + 1)
    t.elements = DLRM_WIDTH * len(DLRM_TABLES)
    _layers(t, 13, 512, 256, DLRM_WIDTH)
    for _ in range(3):
        _layers(t, features, 512, features)
    _layers(t, features, 1024, 1024, 512, 256, 1)
    return t


def _layers(t: Tally, *widths: int) -> None:
    for a, b in pairwise(widths):
        t.linear(1, a, b)


def whisper(layers: int, d: int, mels: int, vocab: int, words: int = 448, frames: int = 1500) -> Tally:
    """Tally Whisper on one window of 30 s: the encoder, and the decoder once over `words` tokens (no generation)."""
    t = Tally()
    t.linear(2 * frames, 3 * mels, d).linear(frames, 3 * d, d)
    for _ in range(layers):
        _transformer(t, frames, d, frames, 4 * d)
    for _ in range(layers):
        t.linear(words, d, 3 * d).linear(words, d, d)
        t.macs += words * (words + 1) * d
        t.linear(words, d, d).linear(frames, d, 2 * d).attention(words, d, frames).linear(words, d, d)
        t.linear(words, d, 4 * d).linear(words, 4 * d, d)
    return t.linear(words, d, vocab)


NETWORKS: dict[str, Callable[[], Tally]] = {
    "alexnet": alexnet,
    "vgg-16": vgg,
    "resnet-18": lambda: resnet(False, (2, 2, 2, 2)),
    "resnet-50": lambda: resnet(True, (3, 4, 6, 3)),
    "resnet-101": lambda: resnet(True, (3, 4, 23, 3)),
    "resnet-152": lambda: resnet(True, (3, 8, 36, 3)),
    "mobilenet-v2": mobilenet_v2,
    "mobilenet-v3-large": mobilenet_v3_large,
    "efficientnet-b0": lambda: efficientnet(1, 1, 224),
    "efficientnet-b7": lambda: efficientnet(2, 3.1, 600),
    "convnext-base": lambda: convnext((3, 3, 27, 3), 128),
    "vit-b-16": lambda: vit(12, 768),
    "vit-l-16": lambda: vit(24, 1024),
    "swin-b": lambda: swin((2, 2, 18, 2), 128),
    "sd-1.5-unet": lambda: unet((320, 640, 1280, 1280), (1, 1, 1, 0), 1, 768, 64),
    "sdxl-unet": lambda: unet((320, 640, 1280), (0, 2, 10), 10, 2048, 128),
    "flux-1-dev": flux,
    "flux-1-schnell": lambda: flux(words=256),
    "dlrm-v2": dlrm,
    "whisper-tiny": lambda: whisper(4, 384, 80, 51865),
    "whisper-base": lambda: whisper(6, 512, 80, 51865),
    "whisper-small": lambda: whisper(12, 768, 80, 51865),
    "whisper-medium": lambda: whisper(24, 1024, 80, 51865),
    "whisper-large-v3": lambda: whisper(32, 1280, 128, 51866),
}


def counted() -> dict[str, int]:
    """Return model id → activation elements a sample."""
    return {id: network().elements for id, network in NETWORKS.items()}
