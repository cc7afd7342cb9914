"""The 22 systems walls as data, keyed by slug.

Numbers and names 1-3 and 8-22 are the curriculum's; 4-7 follow the public MLSys·im package, whose
other numbers and names are kept as aliases so that a reader of either finds the wall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Domain = Literal["node", "data", "algorithm", "fleet", "operations", "analysis"]


@dataclass(frozen=True, slots=True)
class Wall:
    """One wall: a limit that a system runs into, the relation that governs it and the tools that compute it."""

    number: int
    slug: str
    name: str
    domain: Domain
    relation: str
    sources: tuple[str, ...]
    tools: tuple[str, ...]
    package: tuple[str, ...] = ()


_TABLE: tuple[Wall, ...] = (
    Wall(
        1,
        "compute_throughput",
        "Compute throughput",
        "node",
        "t = F / (P·η)",
        ("williams2009",),
        ("roofline",),
        ("1 Compute",),
    ),
    Wall(
        2,
        "memory_capacity",
        "Memory capacity",
        "node",
        "weights + KV + activations (+ gradients + optimizer) ≤ C",
        ("kwon2023", "rajbhandari2020", "korthikanti2022"),
        ("kv_capacity", "fleet_efficiency"),
        ("2 Memory",),
    ),
    Wall(
        3,
        "memory_bandwidth",
        "Memory bandwidth",
        "node",
        "t = Q / (B·η)",
        ("williams2009", "pope2023"),
        ("roofline",),
        ("2 Memory",),
    ),
    Wall(
        4,
        "serving_phases",
        "Serving (two phases)",
        "node",
        "TTFT ≈ F_prefill / P; TPOT ≈ (W + KV) / B",
        ("pope2023", "agrawal2024", "zhong2024"),
        ("roofline", "serving_cost"),
        ("4 Serving",),
    ),
    Wall(
        5,
        "batching",
        "Batching",
        "node",
        "N = ⌊pool / (k·p·E⌈S/p⌉)⌋; tokens/s = N / t_step(N)",
        ("yu2022", "kwon2023"),
        ("kv_capacity", "serving_cost"),
        ("5 Batching",),
    ),
    Wall(
        6,
        "weight_streaming",
        "Weight streaming",
        "node",
        "t_layer = max(W_l / B_inj, F_l / P)",
        ("lie2022",),
        ("wafer_scale",),
        ("6 Streaming",),
    ),
    Wall(
        7,
        "tail_latency",
        "Tail latency",
        "node",
        "Erlang-C / M/G/c quantile of the wait",
        ("erlang1917", "dean2013"),
        ("tail_latency",),
        ("7 Tail latency",),
    ),
    Wall(
        8,
        "ingestion",
        "Ingestion",
        "data",
        "demand / supply ≤ 1",
        ("mohan2021",),
        ("pipeline_bottleneck",),
        ("8 Ingestion",),
    ),
    Wall(
        9,
        "transformation",
        "Transformation",
        "data",
        "rate = cores × rate per core",
        ("murray2021",),
        ("pipeline_bottleneck",),
        ("9 Transformation",),
    ),
    Wall(
        10,
        "storage_bandwidth",
        "Storage bandwidth",
        "data",
        "samples/s × bytes/sample ≤ B_storage",
        ("mohan2021",),
        ("pipeline_bottleneck",),
        (),
    ),
    Wall(
        11,
        "scaling_laws",
        "Scaling laws",
        "algorithm",
        "C = 6ND + attention; L(N, D) = E + A/N^α + B/D^β",
        ("kaplan2020", "hoffmann2022"),
        ("scaling_law",),
        ("11 Complexity",),
    ),
    Wall(
        12,
        "compression",
        "Compression and quantization",
        "algorithm",
        "bytes ratio where memory binds; FLOP-rate ratio where compute binds and the chip has the unit, else 1",
        ("gholami2021", "frantar2022", "lin2023"),
        ("quantization",),
        ("13 Fidelity",),
    ),
    Wall(
        13,
        "architecture_efficiency",
        "Architecture efficiency",
        "algorithm",
        "FLOPs and bytes per token: MHA/GQA/MLA, dense/MoE, attention/SSM",
        ("shazeer2017", "ainslie2023", "deepseekv2", "gu2023"),
        ("architecture_efficiency",),
        (),
    ),
    Wall(
        14,
        "communication",
        "Communication",
        "fleet",
        "ring 2(n−1)/n·M/B + 2(n−1)α; tree 2⌈log₂n⌉α; railed and hierarchical",
        ("thakur2005", "patarasuk2009", "shoeybi2019"),
        ("fleet_efficiency",),
        ("14 Communication",),
    ),
    Wall(
        15,
        "synchronization",
        "Synchronization",
        "fleet",
        "E[max of n] stragglers; pipeline bubble (p−1)/(v·m+p−1)",
        ("narayanan2021", "dean2013"),
        ("fleet_efficiency",),
        ("15 Fragility",),
    ),
    Wall(
        16,
        "reliability",
        "Reliability",
        "fleet",
        "MTBF = 1/Σ n_i·λ_i; Daly's τ, √(2δM) to first order",
        ("young1974", "daly2006", "kokolis2025"),
        ("fleet_efficiency",),
        ("15 Fragility", "19 Checkpoint"),
    ),
    Wall(
        17,
        "energy",
        "Energy",
        "operations",
        "E = N·P(util)·t·PUE",
        ("barroso2018", "patterson2021"),
        ("carbon",),
        ("17 Capital",),
    ),
    Wall(
        18,
        "sustainability",
        "Sustainability",
        "operations",
        "C = E·CI + embodied; water = E_IT·WUE + E·WUE_grid",
        ("patterson2022", "gupta2022", "li2023water"),
        ("carbon",),
        ("18 Sustainability",),
    ),
    Wall(
        19,
        "economic_cost",
        "Economic cost",
        "operations",
        "TCO = capex/life + opex; $/token",
        ("barroso2018",),
        ("serving_cost",),
        ("17 Capital",),
    ),
    Wall(
        20,
        "safety",
        "Safety",
        "operations",
        "guard-model and privacy overheads on time and cost",
        ("inan2023", "abadi2016"),
        ("safety_overhead",),
        ("20 Safety",),
    ),
    Wall(
        21,
        "sensitivity",
        "Sensitivity",
        "analysis",
        "∂ln T / ∂ln x",
        ("williams2009",),
        ("sensitivity",),
        ("21 Sensitivity",),
    ),
    Wall(
        22,
        "synthesis",
        "Synthesis (inverse)",
        "analysis",
        "B ≥ Q/T*, P ≥ F/T*, C ≥ M",
        ("williams2009",),
        ("inverse_spec", "sweep", "audit"),
        ("22 Synthesis",),
    ),
)

WALLS: dict[str, Wall] = {wall.slug: wall for wall in _TABLE}
