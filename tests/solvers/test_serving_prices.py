"""Where the price of an accelerator's hour comes from: owning by hand, the listing taken, an API's list price."""

import pytest

from mlwalls.solvers.prices import listing

GROUP = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4}


def test_owning_by_hand(ask):
    # 31,000 USD a chip (2024) x (0.27 + 0.185 + 0.11)/0.27 over five years, 5 % upkeep; 823.2 W at PUE 1.2 and 8.15 ct,
    # 150 USD/kW and month of hosting.
    answer = ask("serving_cost", **GROUP, concurrency=64, owned=True)
    system = 31000 * 0.565 / 0.27
    by_hand = system * (1 / 5 + 0.05) / 8760 + 0.8232 * (1.2 * 0.0815 + 150 / 730)
    assert answer["result"]["price"] == pytest.approx(by_hand, rel=1e-4)


def test_an_apis_list_price_stands_beside(ask):
    # Together's Llama-3.1-70B at 0.88 USD a million tokens, in and out: 1,280 tokens.
    assert ask("serving_cost", **GROUP, concurrency=64)["result"]["listed_usd"] == pytest.approx(1280 * 0.88e-6)


def test_the_taken_listing_is_on_demand_and_not_stale(zoo):
    found = listing(zoo, zoo.get("hardware", "nvidia-h100-sxm-80gb"))
    assert found.taken.number("usd_per_hour").value == 2.95
    assert (found.low, found.high) == (2.95, 6.88)  # not the 12.29 of before June 2025, not the spot prices
    assert listing(zoo, zoo.get("hardware", "nvidia-b300-sxm")) is None


def test_the_price_is_the_middle_of_the_comparable_listings(ask):
    # On demand since 2025: 2.95 (an index), 2.95, 3.90, 6.88; of an even number the lower middle one.
    assert "median of 4, 2.95 to 6.88" in ask("serving_cost", model="llama-3.1-8b", hardware="h100")["verdict"]
