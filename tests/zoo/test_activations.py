"""Activation elements by hand, and as the entries state them."""

import pytest

from mlwalls.zoo.activations import NETWORKS, counted, dlrm, flux, resnet, vgg, vit


def test_resnet_50_by_hand():
    # conv1, then four stages of bottlenecks: the first block of each adds its shortcut, the 1 x 1 before the stride is larger.
    stem = 64 * 112**2
    one = 3 * (64 + 64 + 256) * 56**2 + 256 * 56**2
    two = 128 * 56**2 + (128 + 512 + 512) * 28**2 + 3 * (128 + 128 + 512) * 28**2
    three = 256 * 28**2 + (256 + 1024 + 1024) * 14**2 + 5 * (256 + 256 + 1024) * 14**2
    four = 512 * 14**2 + (512 + 2048 + 2048) * 7**2 + 2 * (512 + 512 + 2048) * 7**2
    assert stem + one + two + three + four == resnet(True, (3, 4, 6, 3)).elements == 11_113_984


def test_vgg_16_by_hand():
    convolutions = 2 * 64 * 224**2 + 2 * 128 * 112**2 + 3 * 256 * 56**2 + 3 * 512 * 28**2 + 3 * 512 * 14**2
    assert vgg().elements == convolutions


def test_a_vision_transformer_by_hand():
    # 196 patches of 768; then 197 tokens, twelve layers of 3 d + d + 4 d + d.
    assert vit(12, 768).elements == 196 * 768 + 12 * 197 * 9 * 768


def test_flux_by_hand():
    # 4,096 image and 512 text tokens of 3,072: 19 layers of 9 d, 38 of 8 d; two layers in, one out.
    assert flux().elements == 4608 * 3072 * (19 * 9 + 38 * 8 + 1) + 4096 * 64


def test_dlrm_by_hand():
    bottom = 13 * 512 + 512 * 256 + 256 * 128
    cross = 3 * 2 * 27 * 128 * 512
    top = 27 * 128 * 1024 + 1024 * 1024 + 1024 * 512 + 512 * 256 + 256
    assert dlrm().macs == bottom + cross + top
    assert dlrm().elements == 26 * 128 + (512 + 256 + 128) + 3 * (512 + 27 * 128) + (1024 + 1024 + 512 + 256 + 1)


@pytest.mark.parametrize("id", NETWORKS)
def test_multiply_adds_are_the_published_ones(zoo, id):
    # Some published counts are rounded to three digits: 0.217e9 for MobileNetV3-Large.
    assert 2 * NETWORKS[id]().macs == pytest.approx(zoo.get("models", id).number("sample.flops").value, rel=0.002)


@pytest.mark.parametrize("id", counted())
def test_entries_state_what_is_counted(zoo, id):
    assert zoo.get("models", id).number("sample.activation_elements").value == counted()[id]
