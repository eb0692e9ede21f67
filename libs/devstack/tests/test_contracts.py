"""The providers' documents are found where they are, and only there."""

from pathlib import Path

import pytest

from tocsin_devstack import contracts as module
from tocsin_devstack.contracts import provider_documents


def test_the_providers_documents_lie_beside_the_project(contracts: Path) -> None:
    assert provider_documents() == contracts


def test_where_nothing_lies_beside_the_project_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROJECT", tmp_path / "project")
    assert provider_documents() is None
    (tmp_path / "shared" / "provider-contracts").mkdir(parents=True)
    assert provider_documents() == tmp_path / "shared" / "provider-contracts"
