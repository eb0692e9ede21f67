"""What of an HTTP request becomes which field of the RPC's request."""

import pytest
from google.protobuf.message import Message

from tocsin_gateway.transcoding.codec import Codec
from tocsin_gateway.transcoding.contract import all_services
from tocsin_gateway.transcoding.requests import RequestReader, RestRequest
from tocsin_gateway.transcoding.routes import RouteTable, routes_of
from tocsin_gateway.transcoding.values import InvalidValue

TABLE = RouteTable(routes_of(all_services()))
READER = RequestReader(Codec())


def read(
    verb: str, path: str, body: bytes = b"", query: tuple[tuple[str, str], ...] = (), key: str | None = None
) -> Message:
    """The request message of an HTTP request."""
    return READER.read(TABLE.match(verb, path), RestRequest(query, body, key))


MASKS = [
    # body of PATCH /api/v2/alerts/7, its mask
    (b'{"name":"x"}', ["name"]),
    (b'{"name":"x","active":false}', ["name", "active"]),
    (b'{"goal":{"milestones":[50]}}', ["goal.milestones"]),
    (
        b'{"account_threshold":{"threshold":"5","currency":"EUR"}}',
        ["account_threshold.threshold", "account_threshold.currency"],
    ),
    (b'{"goal":{}}', ["goal"]),
    (b'{"cooldown":"300s"}', ["cooldown"]),
    (b'{"snoozed_until":null}', ["snoozed_until"]),
]


@pytest.mark.parametrize(("body", "paths"), MASKS)
def test_the_mask_of_a_patch_is_the_keys_of_its_body(body: bytes, paths: list[str]) -> None:
    message = read("patch", "/api/v2/alerts/7", body)
    assert list(message.update_mask.paths) == paths  # type: ignore[attr-defined]


def test_a_put_has_no_mask() -> None:
    assert not read("put", "/api/v2/alerts/7", b'{"name":"x"}').HasField("update_mask")


def test_a_patch_that_names_nothing_is_refused_for_an_empty_mask_would_replace_all() -> None:
    with pytest.raises(InvalidValue) as refused:
        read("patch", "/api/v2/alerts/7", b"{}")
    assert refused.value.field == "alert"


def test_path_body_and_key_come_together() -> None:
    message = read("post", "/api/v2/alerts", b'{"name":"Rent"}', key="abc")
    assert (message.alert.name, message.request_id) == ("Rent", "abc")  # type: ignore[attr-defined]


def test_the_path_wins_over_the_body() -> None:
    message = read("post", "/api/v2/admin/alerts/evaluate-user/7", b'{"user_id":"8","partner_id":"1"}')
    assert (message.user_id, message.partner_id) == (7, 1)  # type: ignore[attr-defined]


def test_a_query_carries_flags_numbers_enums_and_instants() -> None:
    query = (
        *(("unread", "true"), ("alert_type", "goal"), ("alert_id", "5"), ("page_size", "3")),
        ("created_since", "2025-11-01T00:00:00Z"),
    )
    message = read("get", "/api/v2/notifications", query=query)
    assert (message.unread, message.alert_type, message.alert_id, message.page_size) == (True, 2, 5, 3)  # type: ignore[attr-defined]
    assert message.created_since.seconds == 1761955200  # type: ignore[attr-defined]


REFUSED = [
    # path, query, the field that is named
    ("/api/v2/notifications", (("unread", "yes"),), "unread"),
    ("/api/v2/notifications", (("page_size", "many"),), "page_size"),
    ("/api/v2/notifications", (("nonsense", "1"),), "nonsense"),
    ("/api/v2/notifications", (("page_size", "1"), ("page_size", "2")), "page_size"),
    ("/api/v2/alerts/x", (), "id"),
]


@pytest.mark.parametrize(("path", "query", "field"), REFUSED)
def test_what_does_not_fit_in_path_or_query_is_named(path: str, query: tuple[tuple[str, str], ...], field: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        read("get", path, query=query)
    assert refused.value.field == field


def test_a_body_where_none_belongs_is_refused() -> None:
    with pytest.raises(InvalidValue, match="takes no body"):
        read("get", "/api/v2/alerts", b'{"a":1}')
