"""Which package may import which, read from the source itself."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ALLOWED = {
    "features": set(),
    "ingest": {"features"},
    "ranker": {"features"},
    "serving": {"features", "ranker", "ingest.encoders", "ingest.isolation"},
    "infra": {"features", "ingest", "ranker", "serving"},
}

RAY_ROOMS = (
    "infra/",
    "ingest/crew.py",
    "ingest/pool.py",
    "features/pipeline.py",
    "ranker/pipeline.py",
    "serving/pipeline.py",
)


def modules() -> list[Path]:
    return [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_stands_below_it(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in imports(path)
        if name.split(".")[0] in ALLOWED
        and name.split(".")[0] != package
        and not any(name == room or name.startswith(room + ".") for room in ALLOWED[package])
    ]
    assert not wrong


def test_ray_is_imported_by_pipelines_and_infra_only() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in modules()
        if any(name.split(".")[0] == "ray" for name in imports(path))
        and not str(path.relative_to(ROOT)).startswith(RAY_ROOMS)
    ]
    assert not wrong


def test_nothing_that_serves_a_request_imports_torch() -> None:
    rooms = [
        *(ROOT / "serving").rglob("*.py"),
        *(ROOT / "features").rglob("*.py"),
        ROOT / "ingest/encoders/query.py",
    ]
    wrong = [
        str(path.relative_to(ROOT))
        for path in rooms
        if any(n.split(".")[0] == "torch" for n in imports(path))
    ]
    assert not wrong


def test_the_top_level_holds_the_named_rooms_only() -> None:
    named = {"ingest", "features", "ranker", "serving", "tests", "infra"}
    known = named | {"workspace", "build", "dist"}
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert named <= found
    assert {name for name in found if not name.endswith(".egg-info")} <= known
