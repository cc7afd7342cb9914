"""Which stage starves the accelerators: storage, network, CPU decode and augmentation, the host link, or none?

Every stage delivers samples a second to one host; the slowest sets the pace when loading overlaps computing (prefetch), the sum
of their times when it does not [Mohan 2021, Murray 2021]. Cache hits skip storage and network; read amplification (shuffling,
records, blocks) multiplies what is read; shared storage is divided among the hosts. Then: the stage that binds next, and the
workers, bandwidth or cache that would keep the accelerators 95 % busy.

Assumed where not given: CPU decode with the usual augmentation, 150 to 300 images a second and core; a model FLOPs utilization
for the accelerator's own rate, which a measured rate should replace: 35 % (19 to 50), but for training image models that do few
FLOPs for each activation they write (ResNets) 19 % (15 to 27), after ResNet-50 in MLPerf Training v3.0 (H100, 7,010 images/s:
17 %) and v2.0 (A100, 3,275: 26 %) and NVIDIA's PyTorch examples (A100, 2,470 alone: 19 %, 2,078 of eight: 16 %); with depthwise
convolutions (MobileNet, EfficientNet) 6 % (2 to 15), as `roofline` has it by their memory traffic.

Not modelled: latency of small reads (a bandwidth that holds for the access pattern is needed), contention of CPU memory,
variance between batches, writing checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import pipeline as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import formats_of
from mlwalls.solvers.lookup import find
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, Solver, SolverRequest, SolverResult
from mlwalls.solvers.words import figure, first, fit_result, seconds
from mlwalls.zoo import Entry, Zoo

# Utilization (and range) in training an image model with fewer FLOPs than this for each activation written, and of the rest.
TRAINED = ((300, (0.06, 0.02, 0.15)), (1500, (0.19, 0.15, 0.27)))
USUAL = (0.35, 0.19, 0.5)
STAGES = {
    "storage_rate": ("storage", "storage_bandwidth"),
    "network_rate": ("the network", "ingestion"),
    "cpu_rate": ("CPU decode and augmentation", "transformation"),
    "decoder_rate": ("the accelerators' image decoder", "transformation"),
    "copy_rate": ("the host link", "ingestion"),
    "accelerator_rate": ("the accelerators", "compute_throughput"),
}


class PipelineRequest(SolverRequest):
    """Arguments of the pipeline_bottleneck tool."""

    model: str = Field(default="", description='Vision model, "resnet-50".')
    hardware: str = Field(default="", description='"a100".')
    accelerator_samples_per_s: float | None = Field(
        default=None, gt=0, le=1e9, description="One accelerator's rate, instead of both."
    )
    phase: Literal["training", "inference"] = Field(default="training", description="Its work.")
    mfu_percent: float | None = Field(default=None, ge=1, le=100, description="Or its utilization.")
    n_accelerators: int = Field(default=1, ge=1, le=100_000, description="In one host.")
    batch_size: int = Field(default=256, ge=1, le=1_000_000, description="Of one accelerator.")
    sample_kb: float | None = Field(default=None, gt=0, le=1e9, description="Stored; else ImageNet's mean.")
    storage: str = Field(default="", description='E.g. "hdd-seq".')
    storage_gb_per_s: float | None = Field(default=None, gt=0, le=1e6, description="Instead.")
    hosts: int = Field(default=1, ge=1, le=100_000, description="Sharing the storage.")
    network_gb_per_s: float | None = Field(default=None, gt=0, le=1e5, description="Of one host.")
    cache_hit_percent: float = Field(default=0, ge=0, le=100, description="In memory.")
    read_amplification: float = Field(default=1, ge=1, le=1e6, description="Read over used.")
    cpu_workers: int | None = Field(default=None, ge=1, le=4096, description="Decoding cores.")
    cpu_samples_per_s: float | None = Field(default=None, gt=0, le=1e9, description="Of one core.")
    augmentation_cost: float = Field(default=1, gt=0, le=100_000, description="Over decode and crop.")
    decode_on: Literal["cpu", "accelerator"] = Field(default="cpu", description="Decoder.")
    prefetch: bool = Field(default=True, description="Overlap.")


class PipelineResult(SolverResult):
    """Typed outputs, one host each."""

    utilization_percent: float = Field(description="Accelerators busy.")
    rate_samples_per_s: float = Field(description="Pace of the host.")
    step_ms: float = Field(description="Time of one step.")
    storage_rate_samples_per_s: float | None = None
    network_rate_samples_per_s: float | None = None
    cpu_rate_samples_per_s: float | None = None
    decoder_rate_samples_per_s: float | None = None
    copy_rate_samples_per_s: float | None = None
    accelerator_rate_samples_per_s: float
    next_rate_samples_per_s: float | None = Field(default=None, description="Pace once the slowest stage is fixed.")
    next_stage: str | None = None
    workers_needed: int | None = Field(default=None, description="Cores for 95 % utilization.")
    storage_needed_gb_per_s: float | None = Field(default=None, description="Bandwidth for it.")
    network_needed_gb_per_s: float | None = None
    cache_needed_percent: float | None = Field(default=None, description="Or cache hits for it.")


@dataclass(frozen=True, slots=True)
class Structure:
    """Which stages there are."""

    measured: bool
    dataset: bool
    decoded: bool
    storage: bool
    shared: bool
    network: bool
    cpu: bool
    decoder: bool
    copy: bool
    prefetch: bool


def resolve(request: PipelineRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request.

    Raises:
        CallError: the accelerator's rate does not follow from what is given, or a name names nothing.
    """
    n = Numbers()
    warnings: list[str] = []
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario.pop("detail", None)
    n.you("count", request.n_accelerators)
    n.you("batch", request.batch_size)
    n.assumed("goal", 0.95, 0.9, 1)
    model = _accelerator(request, zoo, n, warnings, scenario)
    if request.sample_kb is not None:
        n.you("sample", request.sample_kb * 1e3, "byte")
    else:
        n.zoo("dataset_bytes", zoo.get("datasets", "imagenet1k-train-bytes"), "size", "byte")
        n.zoo("dataset_samples", zoo.get("datasets", "imagenet1k-train-images"), "size", "")
        warnings.append("sample_kb not given: ImageNet's mean JPEG taken")
    hit = request.cache_hit_percent / 100
    n.you("hit", hit)
    n.you("amplification", request.read_amplification)
    n.you("hosts", request.hosts)
    reads = hit < 1
    storage = reads and _storage(request, zoo, n, warnings, scenario)
    if request.network_gb_per_s is not None:
        n.you("network", request.network_gb_per_s * 1e9, "byte/s")
    cpu = request.decode_on == "cpu" and request.cpu_workers is not None
    if request.decode_on == "cpu" and not cpu:
        warnings.append("cpu_workers not given: CPU decode left out")
    if cpu:
        n.you("workers", request.cpu_workers)
        n.you("cost", request.augmentation_cost)
        if request.cpu_samples_per_s is not None:
            n.you("core", request.cpu_samples_per_s, "1/s")
        else:
            n.zoo("core", zoo.get("storage", "pytorch-augment-per-core"), "rate", "1/s")
    if request.decode_on == "accelerator":
        n.zoo("decoder", zoo.get("storage", "nvjpeg-a100-hw-decoder"), "rate", "1/s")
    decoded = request.decode_on == "cpu" and model is not None and model.has("sample.resolution")
    if decoded and model is not None:
        n.zoo("resolution", model, "sample.resolution", "")
        n.defined("channels", 3)
        n.defined("pixel", 1, "byte")
    copy = decoded or request.decode_on == "accelerator"
    if copy:
        n.zoo("host_link", zoo.get("fabrics", "pcie4-x16"), "bandwidth", "byte/s")
    structure = Structure(
        request.accelerator_samples_per_s is not None,
        request.sample_kb is None,
        decoded,
        storage,
        request.hosts > 1,
        reads and request.network_gb_per_s is not None,
        cpu,
        request.decode_on == "accelerator",
        copy,
        request.prefetch,
    )
    return Problem(structure, n, warnings, scenario, request)


def _accelerator(
    request: PipelineRequest, zoo: Zoo, n: Numbers, warnings: list[str], scenario: dict[str, object]
) -> Entry | None:
    model = find(zoo, "models", "model", request.model, warnings) if request.model else None
    if model is not None:
        scenario["model"] = model.id
    if request.accelerator_samples_per_s is not None:
        n.you("each", request.accelerator_samples_per_s, "1/s")
        return model
    if model is None or not request.hardware:
        missing = "model" if model is None else "hardware"
        raise CallError(
            missing,
            "give accelerator_samples_per_s, or model and hardware.",
            repair={"model": request.model or "resnet-50", "hardware": request.hardware or "a100"},
        )
    if not model.has("sample.flops"):
        raise CallError(
            "accelerator_samples_per_s",
            f"the zoo has no FLOPs a sample for {model.name}; give the accelerator's rate.",
            repair={"accelerator_samples_per_s": 1000},
        )
    hardware = find(zoo, "hardware", "hardware", request.hardware, warnings)
    scenario["hardware"] = hardware.id
    usable = [f for f in ("bf16", "fp16", "fp32") if f in formats_of(hardware)]
    if not usable:
        raise CallError("hardware", f"{hardware.name} has no published peak in the zoo.", repair={"hardware": "a100"})
    n.zoo("peak", hardware, f"peak.{usable[0]}", "FLOP/s")
    training = request.phase == "training" and model.has("sample.training_flops")
    n.zoo("flops", model, "sample.training_flops" if training else "sample.flops", "FLOP")
    if request.mfu_percent is not None:
        n.you("mfu", request.mfu_percent / 100)
    else:
        assumed = _utilization(model) if training else USUAL
        n.assumed("mfu", *assumed, source="mlperf_training" if assumed != USUAL else "")
        share, low, high = (f"{100 * part:g}" for part in assumed)
        warnings.append(f"mfu_percent not given: {share} % ({low} to {high}) assumed; a measured rate is better")
    return model


def _utilization(model: Entry) -> tuple[float, float, float]:
    """Return the utilization assumed in training a model, with its range."""
    if model.text("type") != "vision" or not model.has("sample.activation_elements"):
        return USUAL
    done = model.number("sample.flops").value / model.number("sample.activation_elements").value
    return next((share for most, share in TRAINED if done < most), USUAL)


def _storage(request: PipelineRequest, zoo: Zoo, n: Numbers, warnings: list[str], scenario: dict[str, object]) -> bool:
    if request.storage and request.storage_gb_per_s is not None:
        raise CallError("storage", "give storage or storage_gb_per_s, not both.", repair={"storage": ""})
    if request.storage_gb_per_s is not None:
        n.you("store", request.storage_gb_per_s * 1e9, "byte/s")
        return True
    if not request.storage:
        warnings.append("storage not given: left out")
        return False
    entry = find(zoo, "storage", "storage", request.storage, warnings)
    scenario["storage"] = entry.id
    rated = next((p for p, number in entry.numbers() if number.unit == "byte/s"), None)
    if rated is None:
        known = [e.id for e in zoo.entries("storage") if any(m.unit == "byte/s" for _, m in e.numbers())]
        known.sort(key=lambda id: "read" not in id)
        raise CallError("storage", f"{entry.name} has no bandwidth in the zoo.", choices=known[:6])
    n.zoo("store", entry, rated, "byte/s")
    return True


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out every stage's rate, the pace, utilization and needs; keys are the results' symbols."""
    out: dict[str, Value] = {}
    sample = n.sample if not s.dataset else d.step("sample", eq.mean_size(n.dataset_bytes, n.dataset_samples))
    if s.storage or s.network:
        size = d.step("read_bytes", eq.fetched(sample, n.amplification, n.hit))
    if s.storage:
        law = eq.delivered_shared(n.store, n.hosts, size) if s.shared else eq.delivered(n.store, size)
        out["storage_rate"] = d.step("storage_rate", law)
    if s.network:
        out["network_rate"] = d.step("network_rate", eq.delivered(n.network, size))
    if s.cpu:
        out["cpu_rate"] = d.step("cpu_rate", eq.prepared(n.workers, n.core, n.cost))
    if s.decoder:
        out["decoder_rate"] = d.step("decoder_rate", eq.of_all(n["count"], n.decoder))
    if s.copy:
        moved = d.step("decoded", eq.pixels(n.channels, n.resolution, n.pixel)) if s.decoded else sample
        out["copy_rate"] = d.step("copy_rate", eq.copied(n["count"], n.host_link, moved))
    wanted = eq.of_all(n["count"], n.each) if s.measured else eq.consumed(n["count"], n.peak, n.mfu, n.flops)
    out["accelerator_rate"] = d.step("accelerator_rate", wanted)
    _pace(s, n, d, out)
    _needs(s, n, d, out, size if s.storage or s.network else None)
    return out


def _pace(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    stages = list(out.values())
    slowest = d.choose("rate" if s.prefetch else "slowest", "min", stages)
    if s.prefetch:
        out["rate"] = slowest.value
    else:
        total = None
        for stage in stages:
            time = d.step(f"{stage.name.removesuffix('_rate')}_time", eq.one_sample(stage))
            total = time if total is None else d.step(f"until_{time.name}", eq.longer(total, time))
        assert total is not None
        out["rate"] = d.step("rate", eq.per_time(total))
    out["utilization"] = d.step("utilization", eq.busy(out["rate"], out["accelerator_rate"]))
    out["step"] = d.step("step", eq.step_time(n.batch, n["count"], out["rate"]))
    if d.record and len(stages) > 1:
        others = [stage for stage in stages if stage.name != slowest.chosen]
        out["next_rate"] = d.choose("next_rate", "min", others).value


def _needs(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value], size: Value | None) -> None:
    goal = d.step("goal_rate", eq.goal_rate(n.goal, out["accelerator_rate"]))
    if s.cpu:
        out["workers_needed"] = d.step("workers_needed", eq.workers_for(goal, n.cost, n.core))
    if s.storage and size is not None:
        law = eq.bandwidth_for_all(goal, n.hosts, size) if s.shared else eq.bandwidth_for(goal, size)
        out["storage_needed"] = d.step("storage_needed", law)
        out["cache_needed"] = d.step("cache_needed", eq.hit_for(n.hit, out["storage_rate"], goal))
    if s.network and size is not None:
        out["network_needed"] = d.step("network_needed", eq.bandwidth_for(goal, size))


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: utilization, the stage that binds, what 95 % takes, what binds next."""
    s: Structure = problem.structure
    r: PipelineRequest = problem.context
    rates = {name: first(out[name]) for name in STAGES if name in out}
    ranked = sorted(rates, key=lambda name: rates[name])
    slowest, after = ranked[0], ranked[1] if len(ranked) > 1 else ranked[0]
    busy = 100 * first(out["utilization"])
    said, wall = STAGES[slowest]
    sentence = (
        f"The accelerators are busy {figure(busy)} % of the time: {said} "
        + ("are" if " and " in said else "is")
        + f" the slowest stage at {figure(rates[slowest])} samples/s a host, where {figure(rates['accelerator_rate'])} are wanted"
        f" ({seconds(first(out['step']))} a step of {r.batch_size * r.n_accelerators:,})."
    )
    if slowest == "accelerator_rate":
        sentence = (
            f"The accelerators bind: they take {figure(rates[slowest])} samples/s a host and are busy {figure(busy)} % of the "
            f"time ({seconds(first(out['step']))} a step of {r.batch_size * r.n_accelerators:,})."
        )
    elif s.prefetch:
        sentence += _advice(r, out, slowest)
    if not s.prefetch:
        sentence += " Without prefetch the stages' times add up."
    if len(ranked) > 1:
        sentence += f" Next slowest: {STAGES[after][0]}, at {figure(rates[after])} samples/s."
    result = fit_result(PipelineResult, out, {"next_stage": STAGES[after][0]} if len(ranked) > 1 else {}, set())
    return Presentation(sentence, True, Binding(wall, STAGES[after][1]), result)


def _advice(r: PipelineRequest, out: Outcome, slowest: str) -> str:
    if slowest == "cpu_rate":
        return f" 95 % takes {first(out['workers_needed']):,.0f} CPU workers instead of {r.cpu_workers:,}."
    if slowest == "storage_rate":
        shared = f" for {r.hosts:,} hosts" if r.hosts > 1 else ""
        return (
            f" 95 % takes {figure(first(out['storage_needed']) / 1e9)} GB/s of storage{shared}, or "
            f"{figure(100 * first(out['cache_needed']))} % cache hits."
        )
    if slowest == "network_rate":
        return f" 95 % takes {figure(first(out['network_needed']) / 1e9)} GB/s of network."
    return ""


SOLVER = Solver(
    name="pipeline_bottleneck",
    question="Which stage of the data pipeline starves the accelerators, and what would keep them 95 % busy?",
    guidance="Rates of one host; stages not given are left out.",
    walls=("ingestion", "transformation", "storage_bandwidth"),
    request=PipelineRequest,
    result=PipelineResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={"model": "resnet-50", "hardware": "a100", "mfu_percent": 42, "cpu_workers": 16},
)
