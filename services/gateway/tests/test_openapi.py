"""The OpenAPI document is valid and says what the contract says."""

import json
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tocsin_gateway.entrance.problems import MEANINGS
from tocsin_gateway.transcoding.contract import all_services
from tocsin_gateway.transcoding.openapi import document
from tocsin_gateway.transcoding.routes import routes_of

ROUTES = routes_of(all_services())
DOCUMENT = document(ROUTES, MEANINGS)
SCHEMAS = DOCUMENT["components"]["schemas"]


def test_it_is_a_valid_openapi_document() -> None:
    errors = [error.message for error in OpenAPIV31SpecValidator(json.loads(json.dumps(DOCUMENT))).iter_errors()]
    assert errors == []


def test_every_route_is_in_it_with_a_description_and_every_answer() -> None:
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.path][route.verb]
        assert operation["summary"], f"{route.rpc} has no comment"
        problems = {"400", "401", "403", "404", "409", "413", "429", "500", "503", "504"}
        assert set(operation["responses"]) == {str(route.success_status), *problems}
    assert DOCUMENT["components"]["responses"]["404"]["description"] == "Not found."


def properties(message: str) -> Any:
    """The schemas of a message's fields."""
    return SCHEMAS[f"tocsin.{message}"]["properties"]


CONSTRAINTS = [
    # message, field, what is said of it
    ("alerts.v1.AccountThresholdCondition", "direction", {"enum": ["below", "above"]}),
    ("alerts.v1.AccountThresholdCondition", "currency", {"pattern": "^[A-Z]{3}$"}),
    ("alerts.v1.AccountThresholdCondition", "account_id", {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"}),
    ("alerts.v1.MerchantNameCondition", "merchant_pattern", {"minLength": 1, "maxLength": 100}),
    ("alerts.v1.UpcomingBillCondition", "days_before", {"minimum": 0, "maximum": 21}),
    ("alerts.v1.GoalCondition", "milestones", {"maxItems": 100, "uniqueItems": True}),
    ("alerts.v1.Alert", "cooldown", {"type": "string", "pattern": r"^[0-9]{1,8}(\.[0-9]{1,9})?s$"}),
    # a kind of channel that cannot be overridden is no word here
    ("notifications.v1.ChannelOverride", "channel", {"enum": ["email", "sms", "push"]}),
    # a rule that spares what is empty
    ("alerts.v1.Profile", "phone", {"anyOf": [{"const": ""}, {"pattern": r"^\+[1-9][0-9]{1,14}$"}]}),
    ("alerts.v1.Profile", "email", {"anyOf": [{"const": ""}, {"maxLength": 254, "format": "email"}]}),
]


@pytest.mark.parametrize(("message", "field", "said"), CONSTRAINTS)
def test_rules_of_the_contract_are_constraints(message: str, field: str, said: dict[str, Any]) -> None:
    schema = properties(message)[field]
    assert schema | said == schema


def test_items_of_lists_have_their_own() -> None:
    assert properties("alerts.v1.GoalCondition")["milestones"]["items"] == {
        "type": "integer",
        "format": "int32",
        "minimum": 1,
        "maximum": 100,
    }
    assert properties("notifications.v1.PartnerSettings")["countries"]["items"]["pattern"] == "^[A-Z]{2}$"


def test_what_has_to_be_set_is_required_and_of_the_conditions_exactly_one() -> None:
    threshold = SCHEMAS["tocsin.alerts.v1.AccountThresholdCondition"]
    assert threshold["required"] == ["account_id", "threshold", "currency", "direction"]
    kinds = ["account_threshold", "goal", "merchant_name", "spending_target", "transaction_limit", "upcoming_bill"]
    assert SCHEMAS["tocsin.alerts.v1.Alert"]["allOf"] == [{"oneOf": [{"required": [kind]} for kind in kinds]}]
    assert body("post", "/api/v2/alerts")["required"]
    accounts = body("post", "/api/v2/ingest/accounts")
    assert (accounts["required"], schema_of(accounts)["required"]) == (True, ["accounts"])
    assert (schema_of(accounts)["properties"]["accounts"]["minItems"], accounts["required"]) == (1, True)


def test_a_patch_names_something_and_may_leave_out_what_is_there_already() -> None:
    patch = schema_of(body("patch", "/api/v2/alerts/{id}"))
    assert patch == {"$ref": "#/components/schemas/tocsin.alerts.v1.Alert.partial", "minProperties": 1}
    partial = SCHEMAS["tocsin.alerts.v1.Alert.partial"]
    assert "required" not in SCHEMAS["tocsin.alerts.v1.AccountThresholdCondition.partial"]
    assert partial["properties"]["goal"]["$ref"].endswith("GoalCondition.partial")
    *one_kind, no_kind = partial["allOf"][0]["oneOf"]
    assert no_kind == {"not": {"anyOf": one_kind}}
    assert schema_of(body("put", "/api/v2/alerts/{id}")) == {"$ref": "#/components/schemas/tocsin.alerts.v1.Alert"}


def test_a_body_in_which_nothing_has_to_be_set_may_be_missing() -> None:
    assert not body("post", "/api/v2/admin/schedules/{name}:pause")["required"]
    assert not body("put", "/api/v2/preferences")["required"]


def body(verb: str, path: str) -> Any:
    """What is said of a request's body."""
    return DOCUMENT["paths"][path][verb]["requestBody"]


def schema_of(said: Any) -> Any:
    """The schema of a body."""
    return said["content"]["application/json"]["schema"]


def parameters(verb: str, path: str) -> dict[str, Any]:
    """The parameters of an operation by name."""
    return {one["name"]: one for one in DOCUMENT["paths"][path][verb]["parameters"]}


def test_headers_are_parameters_where_they_mean_something() -> None:
    create = parameters("post", "/api/v2/alerts")
    assert {name for name, one in create.items() if one["in"] == "header"} == {
        "Request-Timeout",
        "Idempotency-Key",
        "Tocsin-User",
    }
    assert create["Idempotency-Key"]["schema"]["maxLength"] == 200
    assert "Tocsin-User" not in parameters("get", "/api/v2/admin/jobs/status")


def test_a_parameter_that_has_to_be_set_is_required() -> None:
    delivery = parameters("get", "/api/v2/admin/deliveries/{id}")
    assert (delivery["id"]["in"], delivery["id"]["schema"]["format"]) == ("path", "uuid")
    assert (delivery["partner_id"]["in"], delivery["partner_id"]["required"]) == ("query", True)
    assert not parameters("get", "/api/v2/alerts")["page_size"]["required"]
