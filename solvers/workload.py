"""A model and a phase, lowered to operator rows: FLOPs, bytes and a count each.

The rows know nothing of hardware but the number of tensor-parallel ranks: every cell is per accelerator.
Streamed bytes are what a step must read: a tied embedding is read once, as the head; an untied one is not
read whole (its rows are gathered). Keys and values stand in a column of their own, `kv`. Latent attention decodes in its absorbed form and is replicated on every
tensor-parallel rank.

Sources: Pope et al. 2023 (decode traffic), DeepSeek-AI 2024 (latent attention), Fedus et al. 2022 (routing).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlwalls.solvers.derivation import Applied, Derivation, Table, Value
from mlwalls.solvers.equations import node as eq
from mlwalls.solvers.equations import training as train
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.shapes import ModelShape

Cells = Mapping[str, Value]
Phase = Literal["decode", "prefill"]


@dataclass(frozen=True, slots=True)
class Groups:
    """Cells by tensor class: the peak that it computes at and the sustained share of it, for every device compared."""

    layer: Cells
    experts: Cells
    wide: Cells
    attention: Cells


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

    def forward(
        self, table: str, phase: Phase, tokens: Value, sequences: Value, positions: Value, head_tokens: Value
    ) -> Table:
        """Lower one forward pass.

        Args:
            table: name of the table.
            tokens: tokens in the pass, all sequences together.
            sequences: sequences in the pass.
            positions: in decode the context that a new token attends to; in prefill the prompt length.
            head_tokens: tokens whose next-token distribution is wanted.
        """
        n, s = self.n, self.shape
        attention = self._attention_cells(phase, sequences, positions)
        projections = self._projection_cells(tokens)
        hit = None
        if s.moe:
            hit = self._once("hit" if table == "op" else f"{table}_hit", eq.experts_hit(n.experts, n.top_k, tokens))
            self._once("router", eq.product(n.d_model, n.experts))
        op = self.d.table(table)
        op.row("*", count=n.layers, **self.groups.layer)
        for name, cells in (projections | attention).items():
            self._row(op, name, **cells)
        if s.dense:
            self._row(
                op,
                "mlp",
                count=n.dense_layers,
                flops=eq.mlp_flops(tokens, n.matrices, n.d_model, n.ffn, n.tp),
                bytes=eq.mlp_bytes(n.matrices, n.d_model, n.ffn, n.w_bytes, n.tp),
            )
        if hit is not None:
            self._expert_rows(op, tokens, hit)
        if "norm_params" in n:
            op.row("norms", count=n.one, bytes=eq.replicated_bytes(n.norm_params, n.wide_bytes))
        if s.has_head:
            op.row(
                "head",
                count=n.one,
                flops=eq.matmul_flops(head_tokens, n.d_model, n.vocab, n.tp),
                bytes=eq.matrix_bytes(n.d_model, n.vocab, n.wide_bytes, n.tp),
                **self._other(self.groups.wide),
            )
        return op

    def _row(self, op: Table, name: str, **cells: Applied | Value) -> None:
        """Add a row, leaving out a count that is the table's default."""
        if cells.get("count") is self.n.layers:
            del cells["count"]
        op.row(name, **cells)

    def _other(self, cells: Cells) -> dict[str, Value]:
        return {k: v for k, v in cells.items() if v.name != self.groups.layer[k].name}

    def _matmul(self, count: Value, tokens: Value, rows: Value, columns: Value) -> dict[str, Applied | Value]:
        n = self.n
        return {
            "count": count,
            "flops": eq.matmul_flops(tokens, rows, columns, n.tp),
            "bytes": eq.matrix_bytes(rows, columns, n.w_bytes, n.tp),
        }

    def _elements(self, count: Value, tokens: Value, elements: Value, shards: Value) -> dict[str, Applied | Value]:
        return {
            "count": count,
            "flops": eq.weights_flops(tokens, elements, shards),
            "bytes": eq.weights_bytes(elements, self.n.w_bytes, shards),
        }

    def _projection_cells(self, tokens: Value) -> dict[str, dict[str, Applied | Value]]:
        n, s = self.n, self.shape
        rows: dict[str, dict[str, Applied | Value]] = {}
        if s.attention == "gqa":
            width = eq.gated_qkv_width if s.gated_query else eq.qkv_width
            qkv = self._once("qkv_out", width(n.heads, n.kv_heads, n.head_dim))
            out = self._once("attn_out", eq.product(n.heads, n.head_dim))
            count = n.attention_layers
            rows["qkv"] = self._matmul(count, tokens, n.d_model, qkv)
            rows["out"] = self._matmul(count, tokens, out, n.d_model)
        elif s.attention == "mla":
            every, by_head = self._latent_elements()
            rows["latent_in"] = {
                "count": n.attention_layers,
                "flops": eq.replicated_flops(tokens, every),
                "bytes": eq.replicated_bytes(every, n.w_bytes),
            }
            rows["latent_out"] = self._elements(n.attention_layers, tokens, by_head, n.tp)
        if s.linear:
            rows["linear"] = self._elements(n.linear_layers, tokens, n.linear_params, n.tp)
        return rows

    def _latent_elements(self) -> tuple[Value, Value]:
        n = self.n
        compressed = self.shape.compressed_query
        every = self._once(
            "latent_in",
            eq.latent_in_elements(n.d_model, n.q_rank if compressed else n.zero, n.kv_rank, n.rope),
        )
        by_head = self._once(
            "latent_out",
            eq.latent_out_elements(
                n.q_rank if compressed else n.d_model, n.heads, n.nope, n.rope, n.kv_rank, n.v_dim, n.d_model
            ),
        )
        return every, by_head

    @property
    def latent_in(self) -> Value | None:
        """Weights that every tensor-parallel rank holds whole, a layer; None without latent attention."""
        return self._taken.get("latent_in")

    def _attention_cells(
        self, phase: Phase, sequences: Value, positions: Value
    ) -> dict[str, dict[str, Applied | Value]]:
        n, s = self.n, self.shape
        rows: dict[str, dict[str, Applied | Value]] = {}
        if s.attention != "none" and s.full:
            pairs = positions
            if phase == "prefill":
                law = eq.square_pairs if s.bidirectional else eq.causal_pairs
                pairs = self._once("pairs", law(positions))
            rows["attention"] = self._core(phase, n.full_layers, sequences, positions, pairs)
        if s.windowed:
            if phase == "decode":
                span = self._once("span", eq.smaller(positions, n.window))
                rows["windowed"] = self._core(phase, n.window_layers, sequences, span, span)
            else:
                pairs = self._once("window_pairs", eq.windowed_pairs(positions, n.window))
                rows["windowed"] = self._core(phase, n.window_layers, sequences, positions, pairs)
        if s.linear:
            state = eq.state_traffic(sequences, n.state_bytes, n.tp)
            rows["state"] = {"count": n.linear_layers, "bytes": state, "kv": state}
        return rows

    def _core(
        self, phase: Phase, count: Value, sequences: Value, positions: Value, pairs: Value
    ) -> dict[str, Applied | Value]:
        n, s = self.n, self.shape
        flops: Applied
        if s.attention == "mla":
            kv = eq.latent_cache_bytes(sequences, positions, n.kv_rank, n.rope, n.kv_width)
            if phase == "decode":
                flops = eq.absorbed_attention_flops(sequences, n.heads, n.kv_rank, n.rope, pairs, n.tp)
            else:
                flops = eq.latent_attention_flops(sequences, n.heads, n.nope, n.rope, n.v_dim, pairs, n.tp)
        else:
            flops = eq.attention_flops(sequences, n.heads, n.head_dim, pairs, n.tp)
            kv = eq.cache_bytes(sequences, positions, n.kv_heads, n.head_dim, n.kv_width, self._kv_shards())
        return {"count": count, "flops": flops, "kv": kv, **self._other(self.groups.attention)}

    def _kv_shards(self) -> Value:
        if not self.shape.sharded:
            return self.n.tp
        return self._once("kv_shards", eq.smaller(self.n.tp, self.n.kv_heads))

    def _expert_rows(self, op: Table, tokens: Value, hit: Value) -> None:
        n = self.n
        router = self._once("router", eq.product(n.d_model, n.experts))
        self._row(
            op,
            "router",
            count=n.moe_layers,
            flops=eq.replicated_flops(tokens, router),
            bytes=eq.replicated_bytes(router, n.w_bytes),
        )
        self._row(
            op,
            "experts",
            count=n.moe_layers,
            flops=eq.expert_flops(tokens, n.top_k, n.matrices, n.d_model, n.expert_ffn, n.tp),
            bytes=eq.expert_bytes(hit, n.matrices, n.d_model, n.expert_ffn, n.e_bytes, n.tp),
            **self._other(self.groups.experts),
        )
        if self.shape.shared:
            self._row(
                op,
                "shared",
                count=n.moe_layers,
                flops=eq.mlp_flops(tokens, n.matrices, n.d_model, n.shared_ffn, n.tp),
                bytes=eq.mlp_bytes(n.matrices, n.d_model, n.shared_ffn, n.w_bytes, n.tp),
            )

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
            out = once("out_shard", eq.product_shard(heads, n.v_dim, n.tp))
        else:
            core = n.head_dim
            qkv = once("qkv_shard", eq.qkv_shard(heads, kv_heads, core, n.tp))
            out = once("out_shard", eq.product_shard(heads, core, n.tp))
        width = (
            n.ffn
            if not s.moe
            else once(
                "active_ffn",
                train.active_ffn(n.moe_layers, n.top_k, n.expert_ffn, n.shared_ffn, n.dense_layers, n.ffn, n.layers),
            )
        )
        up = once("up_shard", eq.up_shard(n.matrices, width, n.tp))
        down = once("down_shard", train.split(width, n.tp))
        stored = train.stored_gated if s.gated_mlp else train.stored_plain
        wide = once("stored", stored(heads, kv_heads, core, width))
        pairs = once("pairs", eq.causal_pairs(positions))
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
            spans = once("window_pairs", eq.windowed_pairs(positions, n.window))
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
