"""The zoo as one page with sortable tables: ``python -m mlwalls.zoo.page > docs/zoo.html``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from mlwalls.zoo.entry import Entry, Number
from mlwalls.zoo.loader import Zoo
from mlwalls.zoo.searching import shown_name

_COLUMNS = {
    "hardware": (
        *("year", "peak.bf16", "peak.fp16", "peak.fp8", "peak.fp4", "memory.capacity", "memory.bandwidth"),
        *("link.bandwidth", "power.tdp", "measured.matmul_bf16"),
    ),
    "models": (
        *("parameters", "active_parameters", "config.layers", "config.d_model", "config.heads", "config.kv_heads"),
        *("moe.experts", "config.vocab", "config.max_context", "sample.flops"),
    ),
    "grids": ("carbon_intensity", "low_carbon_share", "carbon_free_share", "electricity_price"),
}
# Texts of an entry that stand as columns after its name.
_TEXTS = {"hardware": (), "models": ("type",), "grids": ("method", "location")}
_SCALED = {"byte": "GB", "byte/s": "GB/s", "FLOP/s": "TFLOP/s", "FLOP": "GFLOP"}
_STYLE = (
    "body{font:14px/1.4 system-ui,sans-serif;margin:2rem}table{border-collapse:collapse;margin:1rem 0}"
    "th,td{border:1px solid #ccc;padding:.2rem .5rem;text-align:left;vertical-align:top}td.n{text-align:right}"
    "td:first-child{white-space:nowrap}th{cursor:pointer;background:#eee;position:sticky;top:0}th small{display:block;"
    "font-weight:normal}a{color:inherit;text-decoration-color:#bbb}.u{color:#a40}small{color:#555}nav a{margin-right:1rem}"
    "input{font:inherit;padding:.2rem .5rem;width:20rem}"
)
_SORT = (
    "document.querySelectorAll('th').forEach(th=>th.onclick=()=>{const b=th.closest('table').tBodies[0],"
    "i=th.cellIndex,d=th.dataset.d=th.dataset.d=='1'?'-1':'1';[...b.rows].sort((p,q)=>{const x=p.cells[i].dataset.v??"
    "p.cells[i].innerText,y=q.cells[i].dataset.v??q.cells[i].innerText;return (x==='')-(y==='')||"
    "d*(isNaN(x-y)?x.localeCompare(y):x-y)}).forEach(r=>b.append(r))});"
    "document.querySelector('input').oninput=e=>{const w=e.target.value.toLowerCase().split(/\\s+/);"
    "document.querySelectorAll('tbody tr').forEach(r=>{const s=r.innerText.toLowerCase();r.hidden=!w.every(x=>s.includes(x))})}"
)


def page(zoo: Zoo) -> str:
    """Return the page: a table a kind, every number linked to its source, unverified ones marked."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>The mlwalls zoo</title>",
        f"<style>{_STYLE}</style><h1>The zoo</h1>",
        "<p>Click a heading to sort. Each figure links to its source; <span class=u>?</span> marks one that nobody has "
        "checked there, <i>italics</i> one that is derived or estimated (hover for what from). Peaks are dense, links in one "
        "direction, GB are 10<sup>9</sup> byte.</p>",
        "<nav>" + "".join(f"<a href=#{k}>{k}</a>" for k in zoo.kinds) + "<a href=#differences>differences</a></nav>",
        "<p><input type=search placeholder='Rows with these words' aria-label='Rows with these words'></p>",
    ]
    for kind in zoo.kinds:
        entries = zoo.entries(kind)
        if entries:
            parts.append(f"<h2 id={kind}>{kind.capitalize()} ({len(entries)})</h2>")
            parts.append(_table(zoo, kind, entries) if kind in _COLUMNS else _list(zoo, entries))
    parts.append("<h2 id=differences>Counts that differ from the published ones, and why</h2><ul>")
    parts += [f"<li>{escape(line)}</li>" for line in explained_differences()]
    parts.append(f"</ul><script>{_SORT}</script></html>")
    return "\n".join(parts) + "\n"


def explained_differences() -> list[str]:
    """Return the models whose counted parameters differ by more than 1.5 % from the published ones, with the reason."""
    text = (Path(__file__).parent / "explained_differences.yaml").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _table(zoo: Zoo, kind: str, entries: Sequence[Entry]) -> str:
    paths = {}
    for path in _COLUMNS[kind]:
        number = next((e.number(path) for e in entries if e.has(path)), None)
        if number is not None:
            paths[path] = _heading(path, number)
    head = "".join(f"<th>{n}" for n in ("id", "name", *_TEXTS[kind], *paths.values()))
    rows = []
    for entry in entries:
        texts = "".join(f"<td>{escape(entry.text(name))}" for name in _TEXTS[kind])
        cells = "".join(_cell(zoo, entry.number(path)) if entry.has(path) else "<td>" for path in paths)
        rows.append(f"<tr><td>{escape(entry.id)}<td>{escape(entry.name)}{texts}{cells}")
    return f"<table><thead><tr>{head}</thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


def _heading(path: str, number: Number) -> str:
    words = path.removeprefix("config.").replace(".", " ").replace("_", " ")
    unit = _unit(number)
    return escape(words) + (f"<small>{escape(unit)}</small>" if unit and unit != words else "")


def _unit(number: Number) -> str:
    return _SCALED.get(number.unit, number.unit)


def _cell(zoo: Zoo, number: Number) -> str:
    value = shown_name("", number)[1]
    return f'<td class=n data-v="{value:.10g}">{_figure(zoo, number, _printed(value, number.unit))}'


def _printed(value: float, unit: str) -> str:
    """Whole numbers in full, others with six digits, years without separators."""
    if unit == "year":
        return f"{value:.0f}"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:,.6g}"


def _figure(zoo: Zoo, number: Number, text: str) -> str:
    source = zoo.source(number.source)
    title = escape(
        "; ".join(t for t in (source.title, number.basis, number.note) if t and t != "published"), quote=True
    )
    shown = f"<i>{text}</i>" if number.basis != "published" else text
    mark = "" if number.checked else "<span class=u>?</span>"
    return f'<a href="{escape(source.url, quote=True)}" title="{title}">{shown}</a>{mark}'


def _list(zoo: Zoo, entries: Sequence[Entry]) -> str:
    rows = []
    for entry in entries:
        figures = ", ".join(
            f"{escape(path.replace('_', ' '))} {_figure(zoo, number, _printed(shown_name('', number)[1], number.unit))} "
            f"<small>{escape(_unit(number))}</small>"
            for path, number in entry.numbers()
        )
        rows.append(
            f"<tr><td>{escape(entry.id)}<td>{escape(entry.text('type'))}<td>{escape(entry.text('date'))}<td>{figures}"
        )
    body = "\n".join(rows)
    return f"<table><thead><tr><th>id<th>type<th>date<th>figures</thead><tbody>\n{body}\n</tbody></table>"


if __name__ == "__main__":
    sys.stdout.write(page(Zoo.builtin()))
