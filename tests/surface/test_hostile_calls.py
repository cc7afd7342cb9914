"""Whatever a tool is called with: an answer within its bounds, or an error that leads to one."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .hostile import arguments, attack, tools


@pytest.mark.parametrize("tool", sorted(tools()))
def test_any_arguments(tool):
    # Without shrinking: a failure is told at once, and fuzz.py finds a smaller one.
    @settings(
        max_examples=60,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(st.data())
    def attacked(data):
        attack(tool, data.draw(arguments(tool)))

    attacked()
