"""A model and a phase, lowered to operator rows: FLOPs, bytes and a count each.

The rows know nothing of hardware but the number of tensor-parallel ranks: every cell is per accelerator.
Streamed bytes are what a step must read: a tied embedding is read once, as the head; an untied one is not
read whole (its rows are gathered). Latent attention decodes in its absorbed form and is replicated on every
tensor-parallel rank.

Sources: Pope et al. 2023 (decode traffic), DeepSeek-AI 2024 (latent attention), Fedus et al. 2022 (routing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mlwalls.solvers.derivation import Applied, Derivation, Table, Value
from mlwalls.solvers.equations import common, operators
from mlwalls.solvers.equations import training as train
from mlwalls.solvers.formats import STORED_BYTES
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.shapes import ModelShape

Cells = dict[str, "Applied | Value"]


@dataclass(frozen=True, slots=True)
class PassPhase:
    """One phase of a forward pass.

    Attributes:
        kind: decode attends to `positions` of context with every token; prefill writes and attends within `positions`;
            held does nothing but hold the cache of `positions`.
        tokens: tokens in the pass, all sequences together.
        stem: precedes the phase's own columns and names (empty for the main one).
        cached: of a prefill's positions, those whose keys and values are there already.
    """

    kind: Literal["decode", "prefill", "held"]
    tokens: Value
    positions: Value
    stem: str = ""
    cached: Value | None = None

    def named(self, name: str) -> str:
        """Return what a count of query-key pairs is called: of one prompt by its name, of further ones with their stem."""
        return name if self.stem in ("", "pre_") else f"{self.stem}{name}"


@dataclass(frozen=True, slots=True)
class Groups:
    """Cells by tensor class: the peak that it computes at and the sustained share of it, for every device compared."""

    layer: Mapping[str, Value]
    experts: Mapping[str, Value]
    wide: Mapping[str, Value]
    attention: Mapping[str, Value]
    projections: Mapping[str, Value] = field(default_factory=dict)


@dataclass(slots=True)
class Lowering:
    """Lowers passes of one model into tables of one derivation; shared widths are steps taken once."""

    d: Derivation
    shape: ModelShape
    n: Numbers
    groups: Groups
    _taken: dict[str, Value] = field(default_factory=dict)

    def _once(self, name: str, applied: Applied) -> Value:
        if name not in self._taken:
            self._taken[name] = self.d.step(name, applied)
        return self._taken[name]

    def forward(self, table: str, phases: Sequence[PassPhase], besides: bool = True) -> Table:
        """Lower one forward pass, or several that share their weights (a request's prefill and decode steps).

        Columns: `w` weights that every token uses, `read` weights read besides, `width` bytes each, `flops` beyond
        those of `w`, `kv` cache bytes; a later phase's own cells carry its stem. Without `besides` the experts' row
        reads those of one token only.
        """
        n, s = self.n, self.shape
        cells: dict[str, Cells] = {}
        self._projections(cells)
        for phase in phases:
            self._attention(cells, phase)
        if s.dense:
            cells["mlp"] = {"count": n.dense_layers, "w": operators.matrices_of(n.matrices, n.d_model, n.ffn, n.tp)}
        if s.moe:
            self._experts(cells, phases if besides else ())
        norms = "norm_params" in n
        if norms and not s.has_head:
            cells["norms"] = {"count": n.one, "read": n.norm_params, "width": n.wide_bytes}
        if s.has_head:
            read = operators.matrix(n.d_model, n.vocab, n.tp)
            if norms:
                read = operators.matrix_and_norms(n.d_model, n.vocab, n.tp, n.norm_params)
            cells["head"] = {"count": n.one, "read": read, "width": n.wide_bytes}
            for phase in (p for p in phases if p.kind != "held"):
                cells["head"][f"{phase.stem}flops"] = operators.matmul_flops(n.batch, n.d_model, n.vocab, n.tp)
            cells["head"] |= self._other(self.groups.wide)
        op = self.d.table(table)
        op.row("*", count=n.layers, width=n.w_bytes, **self.groups.layer)
        for name, row in cells.items():
            op.row(name, **{k: c for k, c in row.items() if c is not n.layers and not self._same_width(k, c)})
        return op

    def _same_width(self, column: str, cell: Applied | Value) -> bool:
        # Decided on the formats, not on the numbers, which may be arrays.
        s = self.shape
        own = (
            s.expert_format if s.moe and cell is self.n.e_bytes else s.wide_format if cell is self.n.wide_bytes else ""
        )
        return column == "width" and bool(own) and STORED_BYTES[own] == STORED_BYTES[s.layer_format]

    def _other(self, cells: Mapping[str, Value]) -> Cells:
        return {k: v for k, v in cells.items() if v.name != self.groups.layer[k].name}

    def _projections(self, cells: dict[str, Cells]) -> None:
        n, s = self.n, self.shape
        if s.attention == "gqa":
            width = operators.gated_qkv_width if s.gated_query else operators.qkv_width
            qkv = self._once("qkv_out", width(n.heads, n.kv_heads, n.head_dim))
            out = self._once("attn_out", common.product(n.heads, n.head_dim))
            cells["qkv"] = {"count": n.attention_layers, "w": operators.matrix(n.d_model, qkv, n.tp)}
            cells["out"] = {"count": n.attention_layers, "w": operators.matrix(out, n.d_model, n.tp)}
            if s.data_parallel:
                cells["qkv"]["read"] = operators.matrix_besides(n.d_model, qkv, n.tp)
                cells["out"]["read"] = operators.matrix_besides(out, n.d_model, n.tp)
        elif s.attention == "mla":
            every, by_head = self._latent_elements()
            row: Cells = {"count": n.attention_layers, "w": operators.latent_shard(every, by_head, n.tp)}
            if s.data_parallel:
                whole = self._once("latent", common.total(every, by_head))
                row |= {"w": train.split(whole, n.tp), "read": operators.besides(whole, n.tp)}
            if s.projection_format:
                row |= {"width": n.a_bytes, **self._other(self.groups.projections)}
            cells["latent"] = row
        if s.linear:
            cells["linear"] = {"count": n.linear_layers, "w": train.split(n.linear_params, n.tp)}
            if s.data_parallel:
                cells["linear"]["read"] = operators.besides(n.linear_params, n.tp)

    def _latent_elements(self) -> tuple[Value, Value]:
        n = self.n
        compressed = self.shape.compressed_query
        every = self._once(
            "latent_in",
            operators.latent_in_elements(n.d_model, n.q_rank if compressed else n.zero, n.kv_rank, n.rope),
        )
        by_head = self._once(
            "latent_out",
            operators.latent_out_elements(
                n.q_rank if compressed else n.d_model, n.heads, n.nope, n.rope, n.kv_rank, n.v_dim, n.d_model
            ),
        )
        return every, by_head

    def taken(self, name: str) -> Value | None:
        """Return a width that the lowering stepped out (``"latent_in"``, ``"latent_out"``, ``"qkv_out"``…), if it did."""
        return self._taken.get(name)

    def _attention(self, cells: dict[str, Cells], phase: PassPhase) -> None:
        n, s, stem = self.n, self.shape, phase.stem
        if s.attention != "none" and s.full:
            pairs = phase.positions
            if phase.kind == "prefill":
                law = operators.square_pairs if s.bidirectional else operators.causal_pairs
                pairs = self._once(phase.named("pairs"), law(phase.positions))
                if phase.cached is not None:
                    before = self._once(phase.named("cached_pairs"), law(phase.cached))
                    pairs = self._once(phase.named("new_pairs"), common.difference(pairs, before))
            row = cells.setdefault("attention", {"count": n.full_layers})
            if s.sparse:
                self._indexer(cells, phase, pairs)
                pairs = self._picked(phase)
            read = pairs if s.sparse and phase.kind == "decode" else phase.positions
            row |= self._core(phase, read, pairs)
        if s.windowed:
            row = cells.setdefault("windowed", {"count": n.window_layers})
            if phase.kind != "prefill":
                span = self._once(f"{stem}span", common.smaller(phase.positions, n.window))
                row |= self._core(phase, span, span)
            else:
                pairs = self._once(phase.named("window_pairs"), operators.windowed_pairs(phase.positions, n.window))
                if phase.cached is not None:
                    before = self._once(
                        phase.named("cached_window_pairs"), operators.windowed_pairs(phase.cached, n.window)
                    )
                    pairs = self._once(phase.named("new_window_pairs"), common.difference(pairs, before))
                row |= self._core(phase, phase.positions, pairs)
        if s.linear:
            state = operators.state_bytes(n.batch, n.state_bytes, n.tp)
            row = cells.setdefault("state", {"count": n.linear_layers})
            row |= {f"{stem}kv": state} if phase.kind == "held" else {f"{stem}kv": state, f"{stem}write": state}

    def _indexer(self, cells: dict[str, Cells], phase: PassPhase, pairs: Value) -> None:
        """The indexer scores all positions, on every rank: projections from the query's rank and the hidden state."""
        n = self.n
        weights = self._once("index_w", operators.indexer_elements(n.q_rank, n.index_heads, n.index_dim, n.d_model))
        row = cells.setdefault("indexer", {"count": n.full_layers, "w": weights})
        row[f"{phase.stem}kv"] = operators.index_bytes(n.batch, phase.positions, n.index_dim, n.index_width)
        if phase.kind != "held":
            row[f"{phase.stem}flops"] = operators.index_flops(n.batch, n.index_heads, n.index_dim, pairs)

    def _picked(self, phase: PassPhase) -> Value:
        """Query-key pairs that sparse attention keeps: at most `index_top_k` positions for a token."""
        n = self.n
        if phase.kind != "prefill":
            return self._once(f"{phase.stem}picked", common.smaller(phase.positions, n.index_top_k))
        picked = self._once(phase.named("picked_pairs"), operators.windowed_pairs(phase.positions, n.index_top_k))
        if phase.cached is not None:
            before = self._once(phase.named("cached_picked"), operators.windowed_pairs(phase.cached, n.index_top_k))
            picked = self._once(phase.named("new_picked"), common.difference(picked, before))
        return picked

    def _core(self, phase: PassPhase, positions: Value, pairs: Value) -> Cells:
        n, s = self.n, self.shape
        flops: Applied
        if s.attention == "mla":
            if phase.kind == "decode":
                flops = operators.absorbed_attention_flops(n.batch, n.heads, n.kv_rank, n.rope, pairs, n.tp)
            else:
                flops = operators.latent_attention_flops(n.batch, n.heads, n.nope, n.rope, n.v_dim, pairs, n.tp)
        else:
            flops = operators.attention_flops(n.batch, n.heads, n.head_dim, pairs, n.tp)
        kv = operators.cache_bytes(n.batch, positions, self._entry())
        if phase.kind == "held":
            return {f"{phase.stem}kv": kv}
        return {f"{phase.stem}flops": flops, f"{phase.stem}kv": kv, **self._other(self.groups.attention)}

    def _entry(self) -> Value:
        """Cache bytes of one token and layer on a rank."""
        if "kv_entry" in self._taken:
            return self._taken["kv_entry"]
        n, s = self.n, self.shape
        if s.attention != "mla":
            law = operators.cache_entry(n.kv_heads, n.head_dim, n.kv_width, self._kv_shards())
        elif s.data_parallel:
            law = operators.latent_entry_split(n.kv_rank, n.rope, n.kv_width, n.tp)
        else:
            law = operators.latent_entry(n.kv_rank, n.rope, n.kv_width)
        return self._once("kv_entry", law)

    def _kv_shards(self) -> Value:
        if not self.shape.sharded or self.shape.data_parallel:
            return self.n.tp
        return self._once("kv_shards", common.smaller(self.n.tp, self.n.kv_heads))

    def _experts(self, cells: dict[str, Cells], phases: Sequence[PassPhase]) -> None:
        n = self.n
        row: Cells = {"count": n.moe_layers, "width": n.e_bytes}
        expert = self._once("expert_w", operators.matrices_of(n.matrices, n.d_model, n.expert_ffn, n.tp))
        row["w"] = operators.experts_used(n.top_k, expert)
        for phase in phases:
            hit = self._once(f"{phase.stem}hit", operators.experts_hit(n.experts, n.top_k, phase.tokens))
            row[f"{phase.stem}read"] = operators.experts_besides(hit, n.top_k, expert)
        cells["experts"] = row | self._other(self.groups.experts)
        if self.shape.shared:
            shared = operators.router_and_shared(n.d_model, n.experts, n.matrices, n.shared_ffn, n.tp)
            cells["shared"] = {"count": n.moe_layers, "w": shared}
        else:
            cells["router"] = {"count": n.moe_layers, "w": common.product(n.d_model, n.experts)}

    def training(self, table: str, tokens: Value, sequences: Value, positions: Value) -> Table:
        """Lower forward, backward and optimizer of one micro-batch (`bytes` compulsory, `traffic` expected).

        Follows the additive roofline of the training model: 16-bit operands, fp32 main gradients, flash attention.
        """
        n, s, once = self.n, self.shape, self._once
        heads, kv_heads = n.heads, n.kv_heads
        if s.attention == "mla":
            core = once("core_dim", train.latent_core(n.nope, n.rope, n.v_dim))
            latent_in, latent_out = self._latent_elements()
            columns = once("latent_cols", train.latent_columns(latent_in, latent_out, heads, n.v_dim, n.d_model))
            qkv = once("qkv_shard", train.split(columns, n.tp))
            out = once("out_shard", operators.product_shard(heads, n.v_dim, n.tp))
        else:
            core = n.head_dim
            qkv = once("qkv_shard", operators.qkv_shard(heads, kv_heads, core, n.tp))
            out = once("out_shard", operators.product_shard(heads, core, n.tp))
        width = (
            n.ffn
            if not s.moe
            else once(
                "active_ffn",
                train.active_ffn(n.moe_layers, n.top_k, n.expert_ffn, n.shared_ffn, n.dense_layers, n.ffn, n.layers),
            )
        )
        up = once("up_shard", operators.up_shard(n.matrices, width, n.tp))
        down = once("down_shard", train.split(width, n.tp))
        stored = train.stored_gated if s.gated_mlp else train.stored_plain
        wide = once("stored", stored(heads, kv_heads, core, width))
        pairs = once("pairs", operators.causal_pairs(positions))
        op = self.d.table(table)
        op.row("*", count=n.layers, **self.groups.layer)
        for name, k, columns in (
            ("qkv", n.d_model, qkv),
            ("out", out, n.d_model),
            ("up", n.d_model, up),
            ("down", down, n.d_model),
        ):
            op.row(
                name,
                flops=train.train_matmul_flops(tokens, k, columns),
                bytes=train.train_weight_bytes(k, columns),
                traffic=train.train_matmul_traffic(tokens, k, columns),
            )
        op.row(
            "attention",
            count=n.full_layers,
            flops=train.train_attention_flops(sequences, heads, core, pairs, n.tp),
            **self._other(self.groups.attention),
        )
        if s.windowed:
            spans = once("window_pairs", operators.windowed_pairs(positions, n.window))
            op.row(
                "windowed",
                count=n.window_layers,
                flops=train.train_attention_flops(sequences, heads, core, spans, n.tp),
                **self._other(self.groups.attention),
            )
        op.row("elementwise", traffic=train.elementwise_traffic(tokens, n.kappa, n.d_model, wide, n.tp))
        op.row(
            "head",
            count=n.one,
            flops=train.train_head_flops(tokens, n.d_model, n.vocab, n.tp),
            bytes=train.train_head_bytes(n.d_model, n.vocab, n.tp),
            traffic=train.train_head_traffic(tokens, n.d_model, n.vocab, n.tp),
        )
        op.row("optimizer", count=n.one, traffic=train.optimizer_traffic(n.parameters, n.update, n.tp))
        return op
