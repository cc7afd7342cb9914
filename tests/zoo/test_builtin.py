"""The built-in zoo: sources on every number, physical sanity, published cross-checks, generated files up to date."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

import mlwalls.zoo
from mlwalls.zoo.calibrations import compiled_text
from mlwalls.zoo.compile import compiled

ROOT = Path(mlwalls.zoo.__file__).parent


def test_counts(zoo):
    assert len(zoo.entries("hardware")) >= 60
    assert len(zoo.entries("models")) >= 90


def test_no_number_is_without_a_source_or_basis(zoo):
    for kind in zoo.kinds:
        for entry in zoo.entries(kind):
            for path, number in entry.numbers():
                source = zoo.source(number.source)
                assert source.title and source.url, f"{entry.id} {path}"
                assert number.basis == "published" or number.note, f"{entry.id} {path}"


def test_generated_files_match_what_people_wrote():
    for name, text in compiled().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: run python -m mlwalls.zoo.compile"
    assert (ROOT / "compiled" / "calibration.json").read_text(encoding="utf-8") == compiled_text()


@pytest.mark.parametrize("kind", ["hardware", "models"])
def test_entries_satisfy_the_published_schema(kind):
    schema = json.loads((ROOT / "schemas" / f"{kind}.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for path in (ROOT / kind).glob("*.yaml"):
        if path.name != "sources.yaml":
            assert list(validator.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))) == [], path.name


@pytest.mark.parametrize(
    ("id", "path", "value"),
    [
        # Vendor datasheets and the traps of doubled, sparse and per-superchip figures.
        ("nvidia-h100-sxm-80gb", "peak.bf16", 989.4e12),
        ("nvidia-h100-sxm-80gb", "peak.fp8", 1978.9e12),
        ("nvidia-h100-sxm-80gb", "memory.bandwidth", 3.35e12),
        ("nvidia-h100-sxm-80gb", "memory.capacity", 80 * 2**30),
        ("nvidia-h100-sxm-80gb", "link.bandwidth", 450e9),
        ("nvidia-a100-sxm-80gb", "peak.bf16", 312e12),
        ("nvidia-a100-sxm-80gb", "memory.bandwidth", 2.039e12),
        ("nvidia-b200-sxm-180gb", "peak.bf16", 2250e12),
        ("nvidia-b200-sxm-180gb", "memory.bandwidth", 7.7e12),
        ("nvidia-gb200", "peak.bf16", 2500e12),
        ("nvidia-b300-sxm", "peak.int8", 153.5e12),
        ("nvidia-rtx-4090", "peak.fp16", 165.2e12),
        ("amd-mi300x", "peak.bf16", 1307.4e12),
        ("amd-mi300x", "memory.capacity", 192 * 2**30),
        ("amd-mi325x", "memory.label_gb", 256),
        ("amd-mi355x", "peak.fp8", 5033.2e12),
        ("intel-gaudi3", "peak.bf16", 1678e12),  # Intel's paper of July 2025, table 1
        ("nvidia-rubin", "peak.int8", 250e12),  # NVIDIA's specifications: 18 POPS, 72 GPUs
        ("nvidia-h100-nvl-94gb", "peak.fp8", 3341e12 / 2),
        # IEEE Micro 2026, table 1: rates of one link in one direction.
        ("google-tpu-v2", "memory.bandwidth", 700e9),
        ("google-tpu-v3", "link.bandwidth", 4 * 70e9),
        ("google-tpu-v4", "link.bandwidth", 6 * 50e9),
        ("google-tpu-v5p", "link.bandwidth", 6 * 100e9),
        ("google-tpu-v6e", "peak.fp8", 918e12),
        ("cerebras-cs-3", "injection.bandwidth", 150e9),
        ("cerebras-cs-3", "fabric.bandwidth", 214e15 / 8),
    ],
)
def test_figures_that_are_often_wrong(zoo, id, path, value):
    assert zoo.get("hardware", id).number(path).value == pytest.approx(value)


def test_the_wafers_dense_peak_is_marked_an_estimate(zoo):
    assert zoo.get("hardware", "cerebras-cs-3").number("peak.fp16").basis == "estimate"


def test_eight_bit_peaks_are_twice_the_sixteen_bit_ones_or_explained(zoo):
    # Chips whose 8-bit rate is not twice their 16-bit one, by their makers' own figures.
    other = {
        *("google-tpu-v4", "google-tpu-v5p", "google-tpu-v6e"),  # one rate for both, or int8 alone is doubled
        *("aws-trainium1", "aws-inferentia2", "aws-trainium3"),  # fp8 at the bf16 rate; nearly four times on the third
        *("intel-gaudi3", "nvidia-rubin"),
    }
    for entry in zoo.entries("hardware"):
        if entry.has("peak.bf16") and entry.has("peak.fp8") and entry.id not in other:
            ratio = entry.number("peak.fp8").value / entry.number("peak.bf16").value
            assert ratio == pytest.approx(2, rel=0.03), entry.id


def test_computed_parameters_are_the_published_ones_or_explained(zoo):
    explained = yaml.safe_load((ROOT / "explained_differences.yaml").read_text(encoding="utf-8"))
    unexplained = []
    for entry in zoo.entries("models"):
        if entry.has("published.parameters") and entry.id not in explained:
            ratio = entry.number("parameters").value / entry.number("published.parameters").value
            if abs(ratio - 1) > 0.015:
                unexplained.append((entry.id, ratio))
    assert unexplained == []
    assert all(zoo.get("models", id) for id in explained)


def matmul_parameters(entry):
    """Weights of all matrices but embedding and head, from the configuration: a second count, written on its own."""

    def c(name):
        return entry.number(f"config.{name}").value if entry.has(f"config.{name}") else 0

    d, heads, ffn = c("d_model"), c("heads"), c("ffn")
    attention_layers = c("full_layers") if c("linear_layers") else c("layers")
    matrices = 3 if entry.flag("config.gated_ffn") else 2
    if entry.text("config.attention") == "mla":
        q, kv, nope, rope, v = (
            entry.number(f"mla.{k}").value for k in ("q_rank", "kv_rank", "qk_nope", "qk_rope", "v_head")
        )
        attention = d * q + q * heads * (nope + rope) + d * (kv + rope) + kv * heads * (nope + v) + heads * v * d
    else:
        queries = 2 if entry.flag("config.gated_query") else 1
        attention = (1 + queries) * d * heads * c("head_dim") + 2 * d * c("kv_heads") * c("head_dim")
    recurrent = c("linear_layers") * entry.number("linear.projection_parameters").value if c("linear_layers") else 0
    if not entry.has("moe.experts"):
        return attention_layers * attention + recurrent + c("layers") * matrices * d * ffn
    experts, wide, layers = (entry.number(f"moe.{k}").value for k in ("experts", "ffn", "layers"))
    shared = entry.number("moe.shared_ffn").value if entry.has("moe.shared_ffn") else 0
    dense = entry.number("moe.dense_layers").value if entry.has("moe.dense_layers") else 0
    moe = layers * (matrices * d * (experts * wide + shared) + d * experts)
    return attention_layers * attention + recurrent + moe + dense * matrices * d * ffn


def test_every_transformer_adds_up_from_its_configuration(zoo):
    for entry in zoo.entries("models"):
        if not entry.has("config.d_model") or entry.text("config.attention") == "none":
            continue
        embedding = entry.number("config.vocab").value * entry.number("config.d_model").value
        embeddings = embedding * (1 if entry.flag("config.tied_embeddings") else 2)
        small = entry.number("config.norm_parameters").value
        total = entry.number("parameters").value
        assert matmul_parameters(entry) + embeddings + small == total, entry.id
        # Norms, biases, positions and small heads; BERT's positions and pooler are 1.6 % of the base model.
        assert 0 <= small < 0.016 * total, entry.id


@pytest.mark.parametrize(
    ("id", "bytes_per_token"),
    [
        ("llama-3.1-8b", 131_072),
        ("llama-3.1-70b", 327_680),
        ("llama-3.1-405b", 516_096),
        ("llama-2-7b", 524_288),
        ("mixtral-8x7b", 131_072),
        ("qwen3-32b", 262_144),
        ("deepseek-v3", 70_272),
        ("llama-3.2-1b", 32_768),
        ("gpt-3-175b", 4_718_592),
        ("mistral-large-2", 360_448),
    ],
)
def test_kv_bytes_a_token(zoo, id, bytes_per_token):
    entry = zoo.get("models", id)
    layers = entry.number("config.layers").value
    if entry.has("mla.kv_rank"):
        elements = entry.number("mla.kv_rank").value + entry.number("mla.qk_rope").value
    else:
        elements = 2 * entry.number("config.kv_heads").value * entry.number("config.head_dim").value
    assert layers * elements * 2 == bytes_per_token


def test_text_of_the_zoo_gives_no_instructions(zoo):
    phrases = ("ignore ", "you must", "please ", "system prompt", "instruction", "assistant")
    for kind in zoo.kinds:
        for entry in zoo.entries(kind):
            shown = json.dumps(entry.data).lower()
            assert not any(phrase in shown for phrase in phrases), entry.id


def test_the_page_is_up_to_date(zoo):
    from mlwalls.zoo.page import page

    path = Path(__file__).parent.parent.parent / "docs" / "zoo.html"
    if path.exists():
        assert path.read_text(encoding="utf-8") == page(zoo), "run python -m mlwalls.zoo.page > docs/zoo.html"
    assert page(zoo).count("<tr>") > sum(len(zoo.entries(kind)) for kind in zoo.kinds)


def test_other_kinds_are_there(zoo):
    assert len(zoo.entries("grids")) >= 60
    for kind in ("datacenters", "fabrics", "storage", "prices", "reliability", "embodied", "datasets", "studies"):
        assert len(zoo.entries(kind)) >= 10, kind


@pytest.mark.parametrize(
    ("typed", "id", "value"),
    [
        # eGRID 2023 prints 634.156 lb/MWh for Iowa; at 453.592 g a pound that is 287.6 g/kWh.
        ("iowa", "us-iowa", 634.156 * 453.592 / 1000),
        ("québec", "ca-quebec", 31.2),
        ("Quebec", "ca-quebec", 31.2),
        ("us-central1", "gcp-us-central1", 412.72),
        ("France", "france", 56.039),
    ],
)
def test_grids_by_name(zoo, typed, id, value):
    entry = zoo.resolve("grids", typed).entry
    assert entry.id == id
    assert entry.number("carbon_intensity").value == pytest.approx(value, rel=1e-3)


def test_grid_methods_are_said(zoo):
    methods = {e.text("type"): e.text("method") for e in zoo.entries("grids")}
    assert methods["state"] == "direct" and methods["country"] == "lifecycle"
    assert all(e.text("method") for e in zoo.entries("grids"))


def test_unverified_numbers_are_counted_not_hidden(zoo):
    numbers = [n for kind in zoo.kinds for e in zoo.entries(kind) for _, n in e.numbers()]
    unchecked = [n for n in numbers if not n.checked]
    assert len(numbers) > 3000
    assert 0 < len(unchecked) < 0.25 * len(numbers)
