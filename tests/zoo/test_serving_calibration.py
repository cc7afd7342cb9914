"""The serving calibration: what is fitted is what ships, on every measured row; what the card says is what comes out."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import mlwalls.zoo
from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.serving import resolve_serving, serve
from mlwalls.zoo.calibrations import calibration
from mlwalls.zoo.measured import MeasuredRow, UnusedRow, read_rows

HERE = Path(mlwalls.zoo.__file__).parent / "calibration" / "serving"


@pytest.fixture(scope="module")
def refit():
    spec = importlib.util.spec_from_file_location("refit_serving", HERE / "refit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(refit, zoo):
    return refit.load(zoo)


@pytest.fixture(scope="module")
def shipped(refit):
    constants = {name: c["value"] for name, c in calibration("serving")["constants"].items()}
    return {name: constants[name] for name in (*refit.FREE, *refit.FIRST_FREE)}


def test_the_refits_formulas_are_the_solvers(refit, rows, shipped, zoo):
    used, _ = rows
    predicted = refit.predict(refit.features(used, zoo), shipped)
    for at, row in enumerate(used):
        n = Numbers()
        n.you("prompt", row.prompt, "token")
        n.you("output", row.output, "token")
        n.you("concurrency", row.concurrency)
        s = resolve_serving(
            n,
            zoo.get("models", row.model),
            zoo.get("hardware", row.hardware),
            row.ranks,
            [],
            weight_format=row.weight_format,
            engine=row.engine,
            data_parallel=row.data_parallel,
        )
        out = serve(s, n, Derivation(record=False))
        for ours, theirs in (("tpot", "tpot"), ("ttft", "ttft"), ("step", "step"), ("prefill", "own")):
            assert out[ours].value == pytest.approx(predicted[theirs][at], rel=1e-9), (row.id, ours)


def test_every_row_is_used_or_has_a_reason(rows):
    used, unused = rows
    assert len(used) + sum(unused.values()) == 1810
    assert len(used) == calibration("serving")["errors"]["tpot_in_sample"]["rows"]
    assert all(unused)


def test_errors_in_the_calibration_file_come_out(refit, rows, shipped, zoo):
    f = refit.features(rows[0], zoo)
    figures = refit.errors(np.log(f["tpot"] / refit.predict(f, shipped)["tpot"]))
    stated = calibration("serving")["errors"]["tpot_in_sample"]
    # Constants are rounded to three digits.
    assert figures["mean"] == pytest.approx(stated["mean"], abs=0.001)
    assert figures["median"] == pytest.approx(stated["median"], abs=0.001)


@pytest.fixture(scope="module")
def left_out(refit, rows, zoo):
    """Return ln(measured/predicted) by fits that have not seen a row's family."""
    f = refit.features(rows[0], zoo)
    families = np.array([row.family for row in rows[0]])
    start = {name: 1.0 for name in refit.FREE} | refit.FIRST_NEUTRAL
    return refit.left_out(f, families, "tpot", refit.FREE, refit.NEUTRAL, start)[0]


@pytest.mark.parametrize(
    ("differing", "name", "count"), [("hardware", "chips", 257), ("weight_format", "formats", 119)]
)
def test_what_two_rows_do_not_share_is_the_spread_of_their_ratio(refit, rows, left_out, differing, name, count):
    apart, kinds = refit.pairs(rows[0], left_out, differing)
    assert len(apart) == count
    assert refit.pair_width(apart) == pytest.approx(calibration("serving")["intervals"][name]["value"], abs=0.003)
    # Judged by pairs of other models and chips or formats alone.
    assert 0.75 <= refit.pairs_held(apart, kinds) <= 0.9


def test_left_out_families_are_predicted(refit, rows, left_out, zoo):
    """The figures that count: no row of a family had a part in its prediction, nor in the width of its interval."""
    used, _ = rows
    f = refit.features(used, zoo)
    families = np.array([row.family for row in used])
    residuals = left_out
    figures = refit.errors(residuals)
    stated = calibration("serving")["errors"]["tpot_leave_one_family_out"]
    assert len(np.unique(families)) == 7
    assert figures["mean"] == pytest.approx(stated["mean"], abs=0.002)
    assert figures["mean"] <= 0.15
    assert figures["median"] <= 0.10
    regimes = np.where(f["moe"] > 0, "moe", "dense")
    assert 0.72 <= refit.nested_coverage(residuals, families, regimes, 1.1) <= 0.88
    intervals = calibration("serving")["intervals"]
    for regime in ("dense", "moe"):
        widths = refit.band(residuals[regimes == regime], 1.1)
        stated = [intervals[f"{regime}_{end}"]["value"] for end in ("low", "high")]
        assert widths == pytest.approx(stated, abs=0.003)


@pytest.mark.parametrize(("group", "attribute"), [("chip", "hardware"), ("engine", "engine")])
def test_left_out_chips_and_engines_are_predicted(refit, rows, zoo, group, attribute):
    used, _ = rows
    f = refit.features(used, zoo)
    groups = np.array([getattr(row, attribute) for row in used])
    start = {name: 1.0 for name in refit.FREE} | refit.FIRST_NEUTRAL
    residuals, _ = refit.left_out(f, groups, "tpot", refit.FREE, refit.NEUTRAL, start)
    stated = calibration("serving")["errors"][f"tpot_leave_one_{group}_out"]
    assert len(np.unique(groups)) == 3
    assert refit.errors(residuals)["mean"] == pytest.approx(stated["mean"], abs=0.002)
    # The band of left-out families, which no chip or engine had a part in choosing.
    intervals = {name: i["value"] for name, i in calibration("serving")["intervals"].items()}
    kinds = np.where(f["moe"] > 0, "moe", "dense")
    held = [
        -intervals[f"{kind}_low"] <= r <= intervals[f"{kind}_high"] for kind, r in zip(kinds, residuals, strict=True)
    ]
    assert 0.72 <= np.mean(held) <= 0.9


HEADER = (
    "id,backend,backend_version,model_path,system,precision,isl,osl,gemm_quant_mode,moe_quant_mode,batch_size,"
    "tp_size,pp_size,attention_dp_size,moe_tp_size,moe_ep_size,silicon_ttft_ms,silicon_tpot_ms\n"
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # Eight accelerators; tp_size double counts where experts are both split and spread.
        (
            "dsr1_c64_x,trtllm,1.2,deepseek-ai/DeepSeek-V3,b200_sxm,fp8,1024,128,fp8,fp8,1,64,1,1,8,8,90,9",
            (8, False, 64),
        ),
        # Two ranks that are data parallel and expert parallel at once: tp = dp, ep = tp * dp.
        (
            "mm_c128_cfg1,vllm,0.19.0,MiniMaxAI/MiniMax-M2.5,b200_sxm,fp8,1024,128,fp8,fp8,64,2,1,2,1,4,90,9",
            (2, True, 128),
        ),
        # The id names the accelerators; batch_size is of one of two attention ranks.
        (
            "a_c8_tp2_ep2_1,trtllm,1.2,openai/gpt-oss-120b,b200_sxm,fp4,1024,128,nvfp4,nvfp4,4,1,1,2,1,2,90,9",
            (2, True, 8),
        ),
        # An id without a load: batch_size times attention ranks.
        ("a_tp4_1,vllm,0.1,Qwen/Qwen3-32B,h100_sxm,fp8,1024,128,fp8,,16,4,1,1,1,1,90,9", (4, False, 16)),
    ],
)
def test_columns_that_contradict_each_other(zoo, line, expected):
    (row,) = read_rows(HEADER + line + "\n", zoo)
    assert isinstance(row, MeasuredRow)
    assert (row.ranks, row.data_parallel, row.concurrency) == expected


@pytest.mark.parametrize(
    ("line", "excluded", "said"),
    [
        ("a_c_tp2_1,vllm,0.1,Qwen/Qwen3-32B,h100_sxm,fp8,1,1,fp8,,16,4,1,1,1,1,90,9", True, "concurrency"),
        ("a_c4_tp2_1,vllm,0.1,nobody/Nothing-7X,h100_sxm,fp8,1,1,fp8,,16,4,1,1,1,1,90,9", False, "no model"),
        ("a_c4_tp2_1,vllm,0.1,Qwen/Qwen3-32B,abacus,fp8,1,1,fp8,,16,4,1,1,1,1,90,9", False, "no accelerator"),
        ("a_c4_tp2_1,vllm,0.1,Qwen/Qwen3-32B,h100_sxm,fp8,1,1,octal,,16,4,1,1,1,1,90,9", False, "no format octal"),
        ("a_c4_tp2_1,vllm,0.1,Qwen/Qwen3-32B,h100_sxm,fp8,1,1,fp8,,16,4,2,1,1,1,90,9", False, "pipeline"),
        ("a_c4_tp2_1,vllm,0.1,Qwen/Qwen3-32B,h100_sxm,fp8,many,1,fp8,,16,4,1,1,1,1,90,9", False, "no number"),
        ("a_c4_tp2_1,vllm,0.1,Qwen/Qwen3-32B,h100_sxm,fp8,1,1,fp8,,16,4,1,1,1,1,90,0", False, "not above 0"),
        ("a_c4_tp2_1,sglang,0.5,Qwen/Qwen3-32B,h100_sxm,fp8,1,1,fp8,,16,4,1,1,1,1,90,9", True, "one wave"),
    ],
)
def test_rows_that_are_not_used_say_why(zoo, line, excluded, said):
    (row,) = read_rows(HEADER + line + "\n", zoo)
    assert isinstance(row, UnusedRow)
    assert row.excluded is excluded
    assert said in row.reason


def test_a_repeated_row_counts_once(zoo):
    line = "a_c4_tp2_{},vllm,0.1,Qwen/Qwen3-32B,h100_sxm,fp8,1,1,fp8,,16,4,1,1,1,1,90.01,9.001\n"
    first, second = read_rows(HEADER + line.format(1) + line.format(2), zoo)
    assert isinstance(first, MeasuredRow)
    assert second.excluded
    assert "repeats" in second.reason


def test_the_interval_of_energy_is_that_of_other_models_rows(refit, zoo):
    joules, models = refit.energy(zoo)
    assert len(joules) == 9
    assert 0.72 <= refit.held_by_others(joules, models).mean() <= 0.88
    assert refit.new_row(joules) == pytest.approx(calibration("serving")["intervals"]["energy"]["value"], abs=0.001)
