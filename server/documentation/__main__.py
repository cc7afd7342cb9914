"""`python -m mlwalls.server.documentation docs`: write the generated pages; with ``--check`` say which are stale."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mlwalls.server.documentation.site import FOLDERS, pages


def main() -> int:
    """Write or compare; returns 1 where a page is stale, missing or left over."""
    parser = argparse.ArgumentParser(prog="python -m mlwalls.server.documentation", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs"))
    parser.add_argument("--check", action="store_true", help="change nothing; list what is stale")
    parsed = parser.parse_args()
    wanted = pages()
    stale = stale_in(parsed.folder, wanted)
    if parsed.check:
        sys.stdout.write("".join(f"stale: {parsed.folder / name}\n" for name in stale) or "no page is stale\n")
        return 1 if stale else 0
    for name in stale:
        path = parsed.folder / name
        if name not in wanted:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[name], encoding="utf-8")
    sys.stdout.write(f"{len(stale)} of {len(wanted)} pages written\n")
    return 0


def stale_in(folder: Path, wanted: dict[str, str]) -> list[str]:
    """Return the pages that are not as they would be generated now, and those of generated folders that nothing generates."""
    changed = [
        name
        for name, text in wanted.items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text
    ]
    there = [path.relative_to(folder).as_posix() for kind in FOLDERS for path in (folder / kind).glob("*.md")]
    return changed + sorted(name for name in there if name not in wanted)


if __name__ == "__main__":
    sys.exit(main())
