"""Where a technology stops: each may be imported in the folders named here and nowhere else (engineering page)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("evaluator", "dispatcher", "scheduler", "gateway")

#: technology -> folders or modules of a service that may import it; app.py wires everything and may know all.
BORDERS = {
    "google.protobuf": ("doors", "transcoding"),
    "tocsin": ("doors", "transcoding"),
    "sqlalchemy": ("store", "migrations", "kinds", "evaluation"),
    "grpc": ("doors",),
    "nats": ("doors",),
    "sendgrid": ("providers", "callbacks"),
    "twilio": ("providers", "callbacks"),
    "alembic": ("migrations",),
}
#: Passing an engine or a connection on is no use of SQL.
HANDLES = {"AsyncEngine", "AsyncConnection"}
FOR_ALL = ("app.py", "__main__.py")


def modules(service: str) -> Iterator[Path]:
    folder = ROOT / "services" / service / "src" / f"tocsin_{service}"
    yield from (path for path in folder.rglob("*.py") if path.relative_to(folder).parts[0] not in FOR_ALL)


def imports(path: Path) -> Iterator[tuple[str, frozenset[str]]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, frozenset[str]()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, frozenset(alias.name for alias in node.names)


def is_of(module: str, technology: str) -> bool:
    return module == technology or module.startswith(technology + ".")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("technology", BORDERS)
def test_a_technology_stops_at_its_border(service: str, technology: str) -> None:
    src = ROOT / "services" / service / "src" / f"tocsin_{service}"
    trespassers = sorted(
        f"{path.relative_to(src)} imports {module}"
        for path in modules(service)
        for module, names in imports(path)
        if is_of(module, technology)
        and path.relative_to(src).parts[0] not in BORDERS[technology]
        and not (technology == "sqlalchemy" and names and names <= HANDLES)
    )
    assert trespassers == [], f"{technology} belongs in {BORDERS[technology]} only"


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_imports_the_doors_or_the_app_but_the_app(service: str) -> None:
    package = f"tocsin_{service}"
    src = ROOT / "services" / service / "src" / package
    trespassers = sorted(
        f"{path.relative_to(src)} imports {module}"
        for path in modules(service)
        for module, _ in imports(path)
        if (is_of(module, f"{package}.doors") and path.relative_to(src).parts[0] != "doors")
        or is_of(module, f"{package}.app")
    )
    assert trespassers == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_store_imports_nothing_that_imports_the_store(service: str) -> None:
    package = f"tocsin_{service}"
    src = ROOT / "services" / service / "src" / package
    users = {
        path.relative_to(src).parts[0].removesuffix(".py")
        for path in modules(service)
        for module, _ in imports(path)
        if is_of(module, f"{package}.store")
    } - {"store"}
    trespassers = sorted(
        f"{path.relative_to(src)} imports {module}"
        for path in (src / "store").rglob("*.py")
        for module, _ in imports(path)
        if any(is_of(module, f"{package}.{user}") for user in users)
    )
    assert trespassers == []
