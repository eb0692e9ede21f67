"""Every service that the contract has: adding a proto adds its routes, with no list to keep."""

import importlib
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import ServiceDescriptor

import tocsin


def all_services() -> list[ServiceDescriptor]:
    """The services of all generated modules, by full name."""
    services = [
        service
        for name in _generated_modules()
        for service in importlib.import_module(name).DESCRIPTOR.services_by_name.values()
    ]
    return sorted(services, key=lambda service: str(service.full_name))


def _generated_modules() -> Iterator[str]:
    for root in map(Path, tocsin.__path__):
        for path in root.rglob("*_pb2.py"):
            yield ".".join(("tocsin", *path.relative_to(root).with_suffix("").parts))
