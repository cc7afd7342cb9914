"""Activation elements by hand, and as the entries state them."""

import pytest

from mlwalls.zoo.activations import counted, resnet, vgg


def test_resnet_50_by_hand():
    # conv1, then four stages of bottlenecks: the first block of each adds its shortcut, the 1 x 1 before the stride is larger.
    stem = 64 * 112**2
    one = 3 * (64 + 64 + 256) * 56**2 + 256 * 56**2
    two = 128 * 56**2 + (128 + 512 + 512) * 28**2 + 3 * (128 + 128 + 512) * 28**2
    three = 256 * 28**2 + (256 + 1024 + 1024) * 14**2 + 5 * (256 + 256 + 1024) * 14**2
    four = 512 * 14**2 + (512 + 2048 + 2048) * 7**2 + 2 * (512 + 512 + 2048) * 7**2
    assert stem + one + two + three + four == resnet(True, (3, 4, 6, 3)) == 11_113_984


def test_vgg_16_by_hand():
    convolutions = 2 * 64 * 224**2 + 2 * 128 * 112**2 + 3 * 256 * 56**2 + 3 * 512 * 28**2 + 3 * 512 * 14**2
    assert vgg() == convolutions


@pytest.mark.parametrize("id", counted())
def test_entries_state_what_is_counted(zoo, id):
    assert zoo.get("models", id).number("sample.activation_elements").value == counted()[id]
