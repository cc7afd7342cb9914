"""The `mlwalls` command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlwalls.zoo import Zoo

OK, FAILED, USAGE, NOT_SURE = 0, 1, 2, 3

EPILOG = """\
examples:
  mlwalls ask "Why doesn't 3.2x more FLOPS give 3.2x speedup?"
  mlwalls call roofline model=llama-3.1-8b hardware=h100 batch_sizes=[1,8,64]
  mlwalls zoo list hardware
  mlwalls verify answer.json
  mlwalls serve --http
without a command, mlwalls serves MCP over standard input and output
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status (0 done, 1 not verified or not valid, 2 a wrong call, 3 not sure)."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _parser() -> argparse.ArgumentParser:
    from importlib.metadata import version

    parser = argparse.ArgumentParser(
        prog="mlwalls",
        description="Quantitative questions about ML systems, answered by cited calculations.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mlwalls {version('mlwalls')}")
    _zoo_option(parser)
    parser.set_defaults(run=_serve, http=False)
    commands = parser.add_subparsers(title="commands", metavar="")

    serve = commands.add_parser("serve", help="serve MCP over standard input and output, or HTTP")
    serve.add_argument("--http", action="store_true", help="streamable HTTP instead of standard input and output")
    serve.add_argument("--host", default="127.0.0.1", help="address to bind (default: this machine only)")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--allow-host", action="append", default=[], help="Host header to accept, e.g. box:8000")
    serve.add_argument("--allow-origin", action="append", default=[], help="Origin header to accept")
    serve.add_argument("--token-env", help="environment variable that holds the bearer token to require")
    _zoo_option(serve)
    serve.set_defaults(run=_serve)

    ask = commands.add_parser("ask", help="answer a question in words, without a language model")
    ask.add_argument("question", nargs="+")
    ask.add_argument("--json", action="store_true", help="the answer as JSON, ready for mlwalls verify")
    _zoo_option(ask)
    ask.set_defaults(run=_ask)

    call = commands.add_parser("call", help="call a tool with argument=value")
    call.add_argument("tool")
    call.add_argument("arguments", nargs="*", metavar="argument=value")
    call.add_argument("--json", action="store_true", help="the answer as JSON, ready for mlwalls verify")
    _zoo_option(call)
    call.set_defaults(run=_call)

    sweep = commands.add_parser("sweep", help="a figure over lists, ranges or zoo selections, as CSV or JSON")
    sweep.set_defaults(run=_sweep)
    _zoo_option(sweep)
    sweep.add_argument("tool")
    sweep.add_argument("arguments", nargs="*", metavar="argument=value")
    sweep.add_argument(
        "--over", action="append", required=True, metavar="NAME=VALUES", help="1,2,4; 1..64:7; zoo where …"
    )
    sweep.add_argument(
        "--metric", action="append", default=[], metavar="FIGURE", help="figure to list; may be repeated"
    )
    sweep.add_argument("--out", type=Path, metavar="FILE", help=".csv or .json (default: CSV on standard output)")
    sweep.add_argument("--keep", type=Path, metavar="DIR", help="keep finished parts here, and go on from them")
    sweep.add_argument("--part", type=int, default=50_000, metavar="POINTS", help="points a part (default 50000)")
    sweep.add_argument("--engine", choices=("local", "dask"), default="local")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="of a running Dask scheduler, e.g. tcp://box:8786")

    verify = commands.add_parser("verify", help="recompute an answer from the answer alone")
    verify.add_argument("file", help="JSON file, or - for standard input")
    verify.add_argument("--again", metavar="TOOL", help="also ask this tool again and compare every field")
    _zoo_option(verify)
    verify.set_defaults(run=_verify)

    accuracy = commands.add_parser("accuracy", help="score the solvers against a file of published measurements")
    accuracy.add_argument("file", type=Path, help="CSV of serving latencies, or YAML rows of many kinds")
    accuracy.add_argument("--json", action="store_true", help="the report as JSON, with every row")
    accuracy.add_argument(
        "--ttft", action="store_true", help="of serving latencies, the time to the first token instead"
    )
    _zoo_option(accuracy)
    accuracy.set_defaults(run=_accuracy)

    tutorial = commands.add_parser("tutorial", help="read a tutorial, computed now, or be taught it")
    tutorial.add_argument("number", type=int, nargs="?", help="0 to 11; all titles when left out")
    tutorial.add_argument("--interactive", action="store_true", help="predict first, then compare")
    tutorial.add_argument("--model", default="", help="your own model in the tutorial's calls")
    tutorial.add_argument("--hardware", default="", help="your own accelerator in the tutorial's calls")
    _zoo_option(tutorial)
    tutorial.set_defaults(run=_tutorial)

    path = commands.add_parser("path", help="a learning path: tutorials in an order")
    path.add_argument("name", nargs="?", default="", help="a, b, c, d or d_plus; all when left out")
    path.set_defaults(run=_path)

    zoo = commands.add_parser("zoo", help="list, show, validate entries; print a schema")
    _zoo_option(zoo)
    actions = zoo.add_subparsers(title="actions", metavar="", required=True)
    for name, argument, text in (
        ("list", "kind", "all entries of a kind, or all kinds"),
        ("show", "name", "one entry with its sources"),
        ("validate", "directory", "check a directory of your own entries"),
        ("schema", "kind", "the JSON Schema of a kind"),
        ("import-hf", "config", "a Hugging Face config.json as an entry"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument(argument, nargs="?" if name == "list" else None)
        if name == "import-hf":
            action.add_argument("--id", default="", help="zoo id to give it (default: the folder's name)")
        action.set_defaults(run=_zoo, action=name)
    return parser


def _zoo_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--zoo",
        action="append",
        type=Path,
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="directory of your own entries, over the built-in ones (also MLWALLS_ZOO)",
    )


def _say(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def _complain(text: str) -> int:
    sys.stderr.write(text if text.endswith("\n") else text + "\n")
    return USAGE


def _zoo_paths(parsed: argparse.Namespace) -> list[Path]:
    return getattr(parsed, "zoo", None) or [Path(p) for p in os.environ.get("MLWALLS_ZOO", "").split(os.pathsep) if p]


def _facts(parsed: argparse.Namespace) -> Zoo:
    from mlwalls.zoo import Zoo

    named = _zoo_paths(parsed)
    return Zoo.layered(named) if named else Zoo.builtin()


def _sweep(parsed: argparse.Namespace) -> int:
    from mlwalls.server.sweep_command import command

    return command(parsed, lambda: _facts(parsed), _zoo_paths(parsed), _complain)


def _serve(parsed: argparse.Namespace) -> int:
    import gc
    import logging

    # What is imported now stays until the end: no collection need look at it, while it comes in or later.
    gc.disable()

    import anyio

    from mlwalls.server.app import build_server, serve_stdio
    from mlwalls.zoo import ZooError

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        server = build_server(_facts(parsed))
    except ZooError as error:
        return _complain(f"mlwalls: the zoo is not valid, so nothing was started:\n{error}")
    gc.freeze()
    gc.enable()
    if not parsed.http:
        anyio.run(serve_stdio, server)
        return OK
    from mlwalls.server.http import UnsafeBindError, http_app, serve_http

    token = os.environ.get(parsed.token_env, "") if parsed.token_env else None
    if parsed.token_env and not token:
        return _complain(f"mlwalls: {parsed.token_env} is not set, so there is no token to require")
    try:
        app = http_app(server, parsed.host, parsed.allow_host, parsed.allow_origin, token)
    except UnsafeBindError as error:
        return _complain(f"mlwalls: {error}")
    sys.stderr.write(f"mlwalls: serving http://{parsed.host}:{parsed.port}/mcp\n")
    anyio.run(serve_http, app, parsed.host, parsed.port)
    return OK


def _answer(zoo: Zoo, tool: str, arguments: dict[str, Any], as_json: bool, shows: Sequence[str] = ()) -> int:
    from mlwalls.server.tools import Tools, call

    result = call(Tools(zoo)[tool], arguments)
    text = "".join(block.text for block in result.content if block.type == "text")
    if result.is_error:
        return _complain(text)
    if as_json:
        _say(json.dumps(result.structured_content, ensure_ascii=False, indent=1))
    else:
        from mlwalls.server.terminal import answer_text

        data = result.structured_content or {}
        figures = data.get("result", {})
        asked = [f"{name} {figures[name]:,g}" for name in shows if isinstance(figures.get(name), (int, float))]
        if asked:
            _say(f"Of what was asked: {', '.join(asked)}.\n")
        _say(answer_text(tool, arguments, data, text))
    return OK


def _ask(parsed: argparse.Namespace) -> int:
    from mlwalls.server.ask import NotSure, route
    from mlwalls.zoo import ZooError

    try:
        zoo = _facts(parsed)
    except ZooError as error:
        return _complain(str(error))
    routed = route(" ".join(parsed.question), zoo)
    if isinstance(routed, NotSure):
        _say(routed.text())
        return NOT_SURE
    if not parsed.json:
        _say(f"{routed.reading}\n")
    return _answer(zoo, routed.tool, routed.arguments, parsed.json, routed.shows)


def _call(parsed: argparse.Namespace) -> int:
    from difflib import get_close_matches

    from mlwalls.server.tools import Tools
    from mlwalls.solvers.assignments import AssignmentError, read_assignments
    from mlwalls.zoo import ZooError

    try:
        zoo = _facts(parsed)
    except ZooError as error:
        return _complain(str(error))
    tools = Tools(zoo)
    if parsed.tool not in tools:
        near = ", ".join(get_close_matches(parsed.tool, tools, 3, 0.3) or tools)
        return _complain(f"no tool {parsed.tool!r}; nearest: {near}")
    tool = tools[parsed.tool]
    try:
        arguments = read_assignments(parsed.arguments, tool.definition.input_schema["properties"])
    except AssignmentError as error:
        return _complain(f"{parsed.tool}: {error}")
    return _answer(zoo, parsed.tool, arguments, parsed.json)


def _verify(parsed: argparse.Namespace) -> int:
    from mlwalls.server.verification import MAX_TEXT, verify_text

    try:
        if parsed.file == "-":
            text = sys.stdin.read(MAX_TEXT + 1)
        else:
            with open(parsed.file, encoding="utf-8") as file:
                text = file.read(MAX_TEXT + 1)
    except (OSError, UnicodeDecodeError) as error:
        return _complain(f"mlwalls verify: cannot read {parsed.file}: {error}")
    report = verify_text(text)
    _say(report.text())
    if not parsed.again:
        return OK if report.ok else FAILED
    return _verify_again(parsed, text, report.ok)


def _verify_again(parsed: argparse.Namespace, text: str, verified: bool) -> int:
    from mlwalls.server.again import AgainError, compared
    from mlwalls.zoo import ZooError

    try:
        differing = compared(parsed.again, json.loads(text), _facts(parsed))
    except (AgainError, ZooError, ValueError, RecursionError) as error:
        return _complain(f"mlwalls verify --again: {error}")
    _say("\n".join(differing) if differing else f"{parsed.again} asked again gives the same in every field")
    return OK if verified and not differing else FAILED


def _accuracy(parsed: argparse.Namespace) -> int:
    from dataclasses import asdict

    from mlwalls.server.accuracy import FormatError, score_file
    from mlwalls.server.accuracy.report import report_text, summary
    from mlwalls.zoo import ZooError

    try:
        outcomes = score_file(parsed.file, _facts(parsed), parsed.ttft)
    except (FormatError, ZooError) as error:
        return _complain(f"mlwalls accuracy: {error}")
    report = summary(outcomes)
    if parsed.json:
        _say(json.dumps({**report, "each": [asdict(o) for o in outcomes]}, ensure_ascii=False, indent=1))
    else:
        _say(report_text(report))
    return OK


def _tutorial(parsed: argparse.Namespace) -> int:
    from mlwalls import prompts
    from mlwalls.server.teaching import FigureError
    from mlwalls.server.teaching.pages import tutorial_page
    from mlwalls.server.teaching.session import teach
    from mlwalls.zoo import ZooError

    if parsed.number is None:
        _say("\n".join(f"{t.number:2}  {t.title}: {t.question}" for t in prompts.load()))
        return OK
    tutorial = next((t for t in prompts.load() if t.number == parsed.number), None)
    if tutorial is None:
        return _complain(f"no tutorial {parsed.number}; there are {', '.join(str(t.number) for t in prompts.load())}")
    own = {name: value for name in ("model", "hardware") if (value := getattr(parsed, name))}
    try:
        zoo = _facts(parsed)
        if not parsed.interactive:
            _say(tutorial_page(tutorial, zoo, own))
            return OK
        teach(tutorial, zoo, input, _say, own)
    except (FigureError, ZooError) as error:
        return _complain(str(error))
    except EOFError:
        _say("")
    return OK


def _path(parsed: argparse.Namespace) -> int:
    from mlwalls import prompts
    from mlwalls.server.teaching.pages import path_page, paths_page

    if not parsed.name:
        _say(paths_page())
        return OK
    wanted = parsed.name.lower().replace("+", "_plus")
    for path in prompts.paths():
        if path.name == wanted:
            _say(path_page(path))
            return OK
    return _complain(f"no path {parsed.name!r}; there are {', '.join(p.name for p in prompts.paths())}")


def _zoo(parsed: argparse.Namespace) -> int:
    from mlwalls.zoo import ZooError, commands

    try:
        if parsed.action == "validate":
            text, valid = commands.validate_text(Path(parsed.directory))
            _say(text)
            return OK if valid else FAILED
        if parsed.action == "import-hf":
            _say(commands.import_text(Path(parsed.config), parsed.id))
            return OK
        zoo = _facts(parsed)
        if parsed.action == "list":
            _say(commands.list_text(zoo, parsed.kind))
        elif parsed.action == "show":
            _say(commands.show_text(zoo, parsed.name))
        else:
            _say(commands.schema(parsed.kind))
    except ZooError as error:
        return _complain(str(error))
    return OK


if __name__ == "__main__":
    sys.exit(main())
