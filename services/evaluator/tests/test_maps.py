"""The packages' docstrings are maps: what they point to is there."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import tocsin_evaluator

ROOT = Path(str(tocsin_evaluator.__file__)).parent
PACKAGES = sorted(path.parent for path in ROOT.rglob("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=[str(path.relative_to(ROOT.parent)) for path in PACKAGES])
def test_a_map_points_to_files_that_are_there(package: Path) -> None:
    """Named from the package, or from the service's root."""
    name = ".".join(package.relative_to(ROOT.parent).parts)
    named = re.findall(r"[\w/]+\.py\b", import_module(name).__doc__ or "")
    lost = [each for each in named if not (package / each).is_file() and not (ROOT / each).is_file()]
    assert lost == []
