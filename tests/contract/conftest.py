"""The running suite, as the acceptance tests start it."""

from tests.acceptance.conftest import open_stack, provider_documents, timetable

__all__ = ["open_stack", "provider_documents", "timetable"]
