"""Published training rows as calls of fleet_efficiency; what a paper leaves out is inferred by rules that are all here.

1. Shape: the zoo's by name, where its size is within 15 % of the one stated; a published table's by size; else heads of about
   128, h = 128 round((128 N / 12)^(1/3) / 128), L = (N - V h) / (12 h^2), a plain MLP of 4 h, a vocabulary of 51,200.
2. Era, by the year in the source: up to 2022 attention is not fused, activations are recomputed in full, dropout is on, states
   are not sharded; from 2023 flash attention, no recomputation, sequence parallelism, sharded optimizer states, no dropout.
   TFLOP/s up to 2022 count recomputed work (Megatron's formula).
3. A plan of which nothing is stated is the tool's own search, with recomputation unless the era has it. Where FSDP is named,
   sizes not stated are 1.
4. Micro-batch: the batch of a replica for FSDP, 8 at most where only the global batch is known; 1 for pipelines with a local
   batch or from 2023; else the largest power of two up to a quarter of the replica's batch over the stages, 4 at most.
5. Interleaving: 2, from 2024 8, where layers and micro-batches allow; 1 where the schedule is 1F1B and for BLOOM.
6. Global batch: four million tokens from 256 accelerators on, four sequences each below.
7. NVIDIA's NeMo framework, its Megatron Core of mixtures and DeepSeek-V3's own have tuned kernels; MegaScale's own hides 65 % of
   tensor-parallel traffic; where the dispatch of tokens is overlapped (DeepSeek-V3 and as stated), 90 % of it hides.
8. Accelerators of a run known by its hours: the largest power of two up to 4.1e-8 times the active parameters, 512 to 16,384.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlwalls.solvers.fleet_plans import LONG_CONTEXT
from mlwalls.solvers.fleet_stages import interleaves, longest
from mlwalls.zoo import UnknownName, Zoo

Inputs = Mapping[str, Any]

# Layers, width, heads by billions of parameters: GPT-3 (Brown et al., Table 2.1), MT-NLG and Megatron's one trillion.
GPT_SIZES = {
    0.125: (12, 768, 12),
    0.355: (24, 1024, 16),
    0.76: (24, 1536, 16),
    1.3: (24, 2048, 16),
    2.7: (32, 2560, 20),
    6.7: (32, 4096, 32),
    13: (40, 5120, 40),
    30: (48, 7168, 56),
    65: (80, 8192, 64),
    175: (96, 12288, 96),
    530: (105, 20480, 128),
    1000: (128, 25600, 160),
}
# PaLM 540B: multi-query attention, heads of 256, gated MLP, 256,000 tokens (Chowdhery et al., Table 1).
PALM = {"kv_heads": 1, "head_dim": 256, "ffn": 73728, "gated_ffn": True, "vocab": 256000}
BLOOM_VOCAB = 250_880
HARDWARE = (
    (r"tpu ?v5p", "google-tpu-v5p"),
    (r"tpu ?v5e", "google-tpu-v5e"),
    (r"tpu ?v4", "google-tpu-v4"),
    (r"a100[a-z0-9]*40gb", "nvidia-a100-sxm-40gb"),
    (r"a100", "nvidia-a100-sxm-80gb"),
    (r"h100(?!nvl|pcie)|h800", "nvidia-h100-sxm-80gb"),
    (r"h200", "nvidia-h200-sxm-141gb"),
    (r"(?<!g)b200", "nvidia-b200-sxm-180gb"),
    (r"v100", "nvidia-v100-sxm2-32gb"),
)
# What a row says of its chip beyond the name, as numbers of the calculation.
H800_LINK = "link=2e11"
CHIP_500_W = ("bandwidth=2.4e12", "matmul=7.1027e14", "driver=1.0206e11")  # 794.5e12 (500 W / 700 W)^(1/3); 95 GiB


# Other names of the same inputs.
SYNONYMS = {
    "num_gpus": ("num_chips", "gpus", "chips", "n_gpus", "num_accelerators", "num_devices", "world_size"),
    "gpu": ("chip", "accelerator", "device", "hardware"),
    "seq_len": ("sequence_length", "seq_length", "context", "context_length"),
    "global_batch": ("global_batch_size", "batch_size"),
    "microbatch": ("micro_batch", "micro_batch_size", "microbatch_size", "mbs"),
    "tp": ("tensor_parallel",),
    "pp": ("pipeline_parallel",),
    "cp": ("context_parallel",),
    "ep": ("expert_parallel",),
    "interleave": ("vp", "vpp", "virtual_pipeline", "virtual_stages"),
    "tokens_per_batch": ("global_batch_tokens", "batch_tokens"),
}
WIDEST = 1_000_000
EXPERTS = ("experts", "experts_per_token", "expert_ffn", "shared_ffn")
SAID = {"compile": "fused=0.5", "async_tp": "w_tp=0.65", "dispatch_overlapped": "w_ep=0.9"}
# Networks of nodes with eight accelerators, an accelerator's share.
NETWORKS = {r"Omni-Path|400 ?Gb/s per node": "nic=6.25e9", r"800 ?Gb/s per node": "nic=12.5e9"}
STATED = {"tp", "pp", "cp", "ep", "fsdp", "sharding", "parallel", "zero"}


class Unanswerable(Exception):
    """A row that cannot be put as a call; says why."""


@dataclass(slots=True)
class Call:
    """Arguments of the tool, and what was inferred."""

    arguments: dict[str, Any]
    inferred: list[str] = field(default_factory=list)


def known(inputs: Inputs) -> dict[str, Any]:
    """Return inputs under the names used here, nulls left out."""
    found = {key: value for key, value in inputs.items() if value is not None}
    for name, others in SYNONYMS.items():
        other = next((o for o in others if o in found), None)
        if name not in found and other is not None:
            found[name] = found[other]
    return found


def era(source: str) -> int:
    """Return the year of a source: the last one it names; BigScience's notes and OPT are of 2022, other undated ones recent."""
    years = [int(y) for y in re.findall(r"\b(20[12]\d)\d{0,2}\b", source)]
    if years:
        return max(years)
    return 2022 if "BigScience" in source or "OPT" in source else 2024


def hardware_of(inputs: Inputs, zoo: Zoo) -> tuple[str, list[str]]:
    """Return the zoo's chip and what to set beside it.

    Raises:
        Unanswerable: no chip of the zoo.
    """
    given = str(inputs.get("gpu") or "")
    text = given.lower()
    for pattern, name in HARDWARE:
        if re.search(pattern, text.replace("-", "").replace("_", "")):
            extra = [H800_LINK] if "h800" in text else []
            return name, list(CHIP_500_W) if "500w" in text else extra
    try:
        return zoo.resolve("hardware", given).entry.id, []
    except UnknownName as error:
        raise Unanswerable(f"accelerator {text or 'not stated'} is not in the zoo") from error


def size_of(text: object) -> float:
    """Read a size such as 7.5B, 1T or 6658859008; 0 where there is none."""
    match = re.search(r"(\d+(?:\.\d+)?)\s*([BTM])?(?![A-Za-z0-9])", str(text), re.IGNORECASE)
    if match is None:
        return 0.0
    return float(match[1]) * {"B": 1e9, "T": 1e12, "M": 1e6}.get((match[2] or "").upper(), 1.0)


def parameters_of(inputs: Inputs) -> float:
    """Return the number of parameters, 0 where it is not stated."""
    if "params_b" in inputs:
        return float(inputs["params_b"]) * 1e9
    return size_of(inputs.get("params", ""))


def model_of(inputs: Inputs, source: str, zoo: Zoo, call: Call) -> tuple[str, float]:
    """Return the model's name (an inline entry goes into the call) and its parameters.

    Raises:
        Unanswerable: neither a name that the zoo knows nor a size.
    """
    wanted = parameters_of(inputs)
    named = str(inputs.get("model", ""))
    if named:
        name = re.sub(r"\s*\(.*\)", "", named).lower().replace("llama-3-", "llama-3.1-")
        try:
            entry = zoo.resolve("models", re.sub(r"(maverick)-.*", r"\1", name)).entry
        except UnknownName:
            entry = None
        if entry is not None and entry.has("config.layers"):
            counted = float(entry.number("parameters").value)
            if not wanted or abs(counted / wanted - 1) <= 0.15:
                return entry.id, counted
        wanted = wanted or size_of(re.sub(r"^.*?(?=\d+(\.\d+)?\s*[BbTt]\b)", "", named))
        if wanted < 1e8 and "hidden" not in inputs:
            raise Unanswerable(f"{named} is no language model whose layers are known")
    if not wanted and "hidden" not in inputs:
        raise Unanswerable("neither a model nor a size is stated")
    shape = _shape(inputs, source, wanted, call)
    call.arguments["define"] = [_entry(shape)]
    return "row", float(shape["parameters"])


def _shape(inputs: Inputs, source: str, wanted: float, call: Call) -> dict[str, Any]:
    palm = "PaLM" in source
    vocab = BLOOM_VOCAB if "BigScience" in source or "BLOOM" in source else 51_200
    vocab = int(inputs.get("vocab", 50_368 if "llm-foundry" in str(inputs.get("framework")) else vocab))
    h = inputs.get("hidden")
    near = min(GPT_SIZES, key=lambda size: abs(math.log(size * 1e9 / wanted))) if wanted else 0.0
    if h is None and abs(near * 1e9 / wanted - 1) < 0.05:
        layers, h, heads = GPT_SIZES[near]
        call.inferred.append("shape by the published table")
    else:
        if h is None:
            h = 128 * round((128 * wanted / 12) ** (1 / 3) / 128)
            call.inferred.append("shape by size")
        if not 1 <= int(h) <= WIDEST:
            raise Unanswerable(f"a width of {h}")
        layers = int(inputs.get("layers") or round((wanted - vocab * h) / (12 * h * h)))
        heads = int(inputs.get("heads") or _heads(h))
    shape: dict[str, Any] = {"layers": layers, "d_model": h, "heads": heads, "kv_heads": inputs.get("kv_heads", heads)}
    shape |= {"head_dim": h // heads, "ffn": inputs.get("ffn", 4 * h), "vocab": vocab, "gated_ffn": False}
    if palm:
        shape |= PALM
    elif "ffn" in inputs:
        shape["gated_ffn"] = inputs["ffn"] != 4 * h
    attention = (2 * shape["heads"] + 2 * shape["kv_heads"]) * shape["head_dim"]
    width = shape["ffn"]
    if "experts" in inputs:
        shape |= {name: int(inputs.get(name, 0)) for name in EXPERTS} | {"gated_ffn": True}
        width = shape["experts"] * shape["expert_ffn"] + shape["shared_ffn"]
    products = layers * h * (attention + (3 if shape["gated_ffn"] else 2) * width)
    untied = 2 if {"ffn", "experts"} & inputs.keys() else 1
    shape |= {"tied": untied == 1, "parameters": products + untied * shape["vocab"] * h}
    return shape


def _heads(h: int) -> int:
    """Heads of about 128 that eight ranks can share."""
    fitting = [a for a in range(8, h // 32, 8) if h % a == 0]
    return min(fitting, key=lambda a: abs(h / a - 128)) if fitting else h // 128


def _entry(shape: Mapping[str, Any]) -> str:
    config = "".join(
        f"  {k}: {shape[k]}\n" for k in ("layers", "d_model", "heads", "kv_heads", "head_dim", "ffn", "vocab")
    )
    moe = ""
    if "experts" in shape:
        moe = (
            f"moe:\n  source: korthikanti2022\n  experts: {shape['experts']}\n"
            f"  experts_per_token: {shape['experts_per_token']}\n  ffn: {shape['expert_ffn']}\n  layers: {shape['layers']}\n"
        )
        moe += f"  shared_ffn: {shape['shared_ffn']}\n" if shape["shared_ffn"] else ""
    return (
        "kind: models\nid: row\nname: row\ntype: language\n"
        f"parameters: {{value: {shape['parameters']}, source: korthikanti2022}}\nconfig:\n  source: korthikanti2022\n{config}"
        f"  gated_ffn: {str(shape['gated_ffn']).lower()}\n  tied_embeddings: {str(shape['tied']).lower()}\n{moe}"
    )


def call_of(row: Mapping[str, Any], zoo: Zoo) -> Call:
    """Put a row as a call of fleet_efficiency.

    Raises:
        Unanswerable: the row is not about training a language model on a chip of the zoo.
    """
    inputs, source = known(row["inputs"]), str(row.get("source", ""))
    call = Call({})
    a = call.arguments
    a["hardware"], sets = hardware_of(inputs, zoo)
    a["model"], parameters = model_of(inputs, source, zoo, call)
    year = era(source)
    tpu = "tpu" in a["hardware"]
    old = year <= 2022 and not tpu and "sharding" not in inputs
    count = int(inputs.get("num_gpus", 0))
    if not count:
        active = float(inputs.get("active_params_b", 0)) * 1e9 or parameters
        count = _count(active, row["kind"], call)
    a["n_accelerators"] = count
    a["seq_len"] = int(inputs.get("seq_len") or (8192 if "llama-3" in a["model"] else 4096))
    if "seq_len" not in inputs:
        call.inferred.append(f"{a['seq_len']} tokens a sequence")
    a["options"] = _options(inputs, source, old)
    recompute = _recompute(inputs, source, old or year <= 2022)
    if old:
        sets.append("dropout=1")
    sets += [text for name, text in SAID.items() if inputs.get(name)]
    if "MegaScale" in source and "framework" not in inputs:
        sets.append("w_tp=0.65")
    if "DeepSeek-V3" in source:
        sets.append(SAID["dispatch_overlapped"])
    for pattern, network in NETWORKS.items():
        if re.search(pattern, str(inputs.get("interconnect", ""))):
            sets.append(network)
    if not STATED & inputs.keys():
        a["global_batch"] = _batch(inputs, 1, count, a["seq_len"], call)
        if recompute:
            a["recompute"] = recompute
        call.inferred.append("plan searched")
    else:
        a["recompute"] = recompute or "none"
        sets += _plan(inputs, source, year, old, _layers(a, zoo), call)
    a["set"] = sets
    return call


def _plan(inputs: Inputs, source: str, year: int, old: bool, layers: int, call: Call) -> list[str]:
    """Put what is stated of a plan, and the rest by the rules, into the call; returns sizes that are set."""
    a = call.arguments
    count = a["n_accelerators"]
    within = re.search(r"TP=(\d+)", str(inputs.get("parallel", "")))
    tp = int(inputs.get("tp") or (within[1] if within else 1))
    pp, cp = int(inputs.get("pp", 1)), int(inputs.get("cp", 1))
    fsdp = bool({"sharding", "fsdp"} & inputs.keys()) or "FSDP" in str(inputs.get("parallel", ""))
    usual = (2 if inputs.get("sharding") == "SHARD_GRAD_OP" else 3) if fsdp else 0 if old else 1
    dp = max(1, count // (tp * pp * cp))
    batch = _batch(inputs, dp, count, a["seq_len"], call)
    each = batch // dp
    micro = min(each, _microbatch(inputs, each, pp, fsdp, year))
    v = _interleave(inputs, source, year, layers, pp)
    while micro > 1 and (each % micro or (v > 1 and (each // micro) % pp)):
        micro -= 1
    if v > 1 and (each // micro) % pp:
        v = 1
    a |= {"tensor_parallel": tp, "pipeline_parallel": pp, "microbatch": micro, "global_batch": batch}
    a["zero"] = int(inputs.get("zero", usual))
    sizes = {"cp": cp if cp > 1 or a["seq_len"] > LONG_CONTEXT else 0, "interleave": v if pp > 1 else 0}
    sizes["ep"] = int(inputs.get("ep", 0))
    if sizes["ep"] > 1:
        # Where a source does not say that experts are mapped on their own, tensor parallelism splits each of them.
        sizes["expert_tp"] = int(inputs.get("expert_tp", tp if "Megatron Core" in source else 1))
    if "dispatcher" in inputs:
        sizes["dispatch"] = 2 if inputs["dispatcher"] == "all-to-all" else 1
    return [f"{size}={value}" for size, value in sizes.items() if value]


def _layers(arguments: Mapping[str, Any], zoo: Zoo) -> int:
    if arguments["model"] == "row":
        return int(re.search(r"layers: (\d+)", arguments["define"][0])[1])  # type: ignore[index]
    return int(zoo.get("models", arguments["model"]).number("config.layers").value)


def _count(active: float, kind: str, call: Call) -> int:
    if kind != "training_gpu_hours":
        raise Unanswerable("the number of accelerators is not stated")
    count = min(16384, max(512, 2 ** int(math.log2(4.1e-8 * active))))
    call.inferred.append(f"{count} accelerators by size")
    return int(count)


def _options(inputs: Inputs, source: str, old: bool) -> list[str]:
    options = ["fp8"] if "fp8" in str(inputs.get("precision", "")) or "DeepSeek-V3" in source else []
    if "NeMo framework" in source or "Megatron Core" in source or "Megatron-Core" in source or "DeepSeek-V3" in source:
        options.append("tuned")
    if old:
        options.append("no_flash")
    stated = inputs.get("sequence_parallel", "sequence_parallel" in str(inputs.get("recompute", "")) or None)
    if stated is False or (stated is None and old):
        options.append("no_sequence_parallel")
    return options


def _recompute(inputs: Inputs, source: str, old: bool) -> str:
    """Return what is recomputed, nothing where the era does not say."""
    if "activation_checkpointing" in inputs:
        return "full" if inputs["activation_checkpointing"] else "none"
    if "recompute" not in inputs:
        return "full" if old else ""
    text = str(inputs["recompute"]).lower()
    if text.startswith("selective"):
        return "selective" if old else "half" if "torchtitan" in source else "none"
    return "none" if text in ("none", "false") else "full"


def _batch(inputs: Inputs, dp: int, count: int, length: int, call: Call) -> int:
    if "local_batch" in inputs:
        return int(inputs["local_batch"]) * dp
    wanted: float = inputs.get("global_batch", inputs.get("batch_per_dp", 0) * dp)
    if not wanted and "tokens_per_batch" in inputs:
        tokens = str(inputs["tokens_per_batch"])
        wanted = (float(tokens[:-1]) * 2**20 if tokens.endswith("M") else float(tokens)) / length
    if not wanted:
        wanted = 4 * count if count < 256 else max(count, 4 * 2**20 / length)
        call.inferred.append(f"global batch {round(wanted)}")
    return max(1, round(wanted / dp)) * dp


def _microbatch(inputs: Inputs, each: int, pp: int, fsdp: bool, year: int) -> int:
    if "microbatch" in inputs:
        return int(inputs["microbatch"])
    if "local_batch" in inputs:
        return 1 if pp > 1 else int(inputs["local_batch"])
    if fsdp:
        return min(each, 8)
    if pp > 1 and year >= 2023:
        return 1
    top = max(1, min(4, each // (4 * pp)))
    return int(2 ** int(math.log2(top)))


def _interleave(inputs: Inputs, source: str, year: int, layers: int, pp: int) -> int:
    if pp == 1:
        return 1
    most = longest(layers, pp)
    if "interleave" in inputs:
        return min(most, int(inputs["interleave"]))
    if inputs.get("schedule") == "1F1B" or "BigScience" in source:
        return 1
    return max(v for v in range(1, min(most, 8 if year >= 2024 else 2) + 1) if v == 1 or interleaves(layers, pp, v))
