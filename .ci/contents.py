"""What the wheel and the sdist hold: every module and data file of the four rooms, the licences, nothing else."""

import sys
import tarfile
import zipfile
from pathlib import Path

ROOMS = ("prompts", "server", "solvers", "zoo")
DATA = {".py", ".typed", ".yaml", ".json", ".csv", ".md"}


def main(folder: Path) -> None:
    wheel = zipfile.ZipFile(next(folder.glob("*.whl"))).namelist()
    source = tarfile.open(next(folder.glob("*.tar.gz"))).getnames()
    tops = {name.split("/")[0] for name in wheel}
    assert all(top == "mlwalls" or top.endswith(".dist-info") for top in tops), f"top-level names: {sorted(tops)}"
    tree = {
        f"mlwalls/{path.as_posix()}"
        for room in ROOMS
        for path in Path(room).rglob("*")
        if path.is_file() and path.suffix in DATA and "__pycache__" not in path.parts
    }
    missing = tree - set(wheel)
    assert not missing, f"missing from the wheel: {sorted(missing)}"
    extra = {name for name in wheel if name.startswith("mlwalls/")} - tree
    assert not extra, f"in the wheel but not in the tree: {sorted(extra)}"
    for wanted in ("LICENSE", "NOTICE"):
        assert any(name.endswith(f"licenses/{wanted}") for name in wheel), f"{wanted} is not in the wheel"
        assert any(name.endswith(f"/{wanted}") for name in source), f"{wanted} is not in the sdist"
    for room in ROOMS:
        assert f"mlwalls/{room}/py.typed" in wheel
    size = sum(item.file_size for item in zipfile.ZipFile(next(folder.glob("*.whl"))).infolist())
    print(f"wheel: {len(wheel)} files, {size >> 10} KiB unpacked")


main(Path(sys.argv[1]))
