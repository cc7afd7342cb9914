"""The witnesses of a program's searches, checked by running the program again."""

from __future__ import annotations

import json
import re

from mlwalls.server.expression_reader import MAX_LIST, Number, ProgramError, evaluate
from mlwalls.server.program_reader import Program, agree, all_true, is_number, literal, shown

_MONOTONE = re.compile(
    r"(smallest|largest) ([A-Za-z_][A-Za-z_0-9]*) in (\S+)(?: within (\S+))? with (.+?)(?: where (.+))?", re.ASCII
)
_TRIED = re.compile(r"(lowest|highest) (.+) of ([0-9]+) tried; next (\{.*\}) (\S+)", re.ASCII)


def check_searches(program: Program) -> None:
    """Run the program again at what each search found and at candidates that must not do."""
    report = program.report
    for number, name, value, rule in program.searches:
        report.searches += 1
        try:
            if match := _MONOTONE.fullmatch(rule.split("; ")[0]):
                problem = _monotone(program, value, match)
            elif match := _TRIED.fullmatch(rule):
                problem = _tried(program, match)
            else:
                problem = "not a rule of the grammar"
        except ProgramError as error:
            problem = str(error)
        if problem:
            report.add(f"work[{number}]: {name}: {problem}")


def _bound(program: Program, text: str) -> float:
    value = program.values.get(text) if text in program.values else literal(text)
    if value is None or isinstance(value, list):
        raise ProgramError(f"{text} is not one number")
    return value


def _monotone(program: Program, value: Number, match: re.Match[str]) -> str:
    direction, variable, candidates, within, condition, where = match.groups()
    if isinstance(value, list):
        raise ProgramError("a search over lists cannot be checked")
    if variable not in program.values:
        return f"{variable} is not a name of the program"
    others, problem = _excluded(program, value, direction == "smallest", candidates, within)
    if problem:
        return problem

    def holds(candidate: float) -> bool:
        chosen: dict[str, Number] = {variable: candidate}
        if where:
            chosen = program.settings(where, more=chosen)
        return all_true(evaluate(condition, program.rerun(chosen).values))

    if not holds(value):
        return "the condition does not hold at what was found"
    for other in others:
        if holds(other):
            return f"{other:g} holds too, so {value:g} is not the {direction}"
    return ""


def _excluded(
    program: Program, value: float, smallest: bool, candidates: str, within: str | None
) -> tuple[list[float], str]:
    """Return the candidates at which the condition must fail, or what is wrong with the found number."""
    if candidates.startswith("["):
        listed = literal(candidates)
        if not isinstance(listed, list) or len(listed) > MAX_LIST:
            raise ProgramError("not a list of candidates")
        if value not in listed:
            return [], f"{value:g} is not among the candidates"
        return [x for x in listed if (x < value if smallest else x > value)], ""
    low_text, dots, high_text = candidates.partition("..")
    if not dots:
        raise ProgramError(f"{candidates[:30]!r} is not a range")
    low, high = _bound(program, low_text), _bound(program, high_text)
    share = _bound(program, within) if within else 0.0
    if within and not 0 < share <= 0.01:
        return [], "the share is not in 0..0.01"
    if not low <= value <= high or (not within and value != int(value)):
        return [], f"{value:g} is not a {'' if within else 'whole '}number in {low:g}..{high:g}"
    below, above = (value / (1 + share), value * (1 + share)) if within else (value - 1, value + 1)
    other = below if smallest else above
    return ([other] if low <= other <= high else []), ""


def _tried(program: Program, match: re.Match[str]) -> str:
    direction, metric, _, chosen, printed = match.groups()
    try:
        overrides = json.loads(chosen)
    except (ValueError, RecursionError):
        return "the next candidate is not JSON"
    if not isinstance(overrides, dict) or not all(is_number(v) for v in overrides.values()):
        return "the next candidate is not numbers by name"
    again = evaluate(metric, program.rerun({k: float(v) for k, v in overrides.items()}).values)
    if not agree(again, literal(printed)):
        return f"the next candidate gives {shown(again)}, printed {printed}"
    own = evaluate(metric, program.values)
    if isinstance(own, list) or isinstance(again, list):
        return "a search over lists cannot be checked"
    better = again < own if direction == "lowest" else again > own
    return "the next candidate is better" if better and not agree(again, own) else ""
