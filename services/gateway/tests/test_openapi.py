"""The OpenAPI document is valid and says what the contract says."""

import json

from openapi_spec_validator import OpenAPIV31SpecValidator

from tocsin_gateway.transcoding.contract import all_services
from tocsin_gateway.transcoding.openapi import document
from tocsin_gateway.transcoding.routes import routes_of

ROUTES = routes_of(all_services())
DOCUMENT = document(ROUTES)


def test_it_is_a_valid_openapi_document() -> None:
    errors = [error.message for error in OpenAPIV31SpecValidator(json.loads(json.dumps(DOCUMENT))).iter_errors()]
    assert errors == []


def test_every_route_is_in_it_with_a_description() -> None:
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.path][route.verb]
        assert operation["summary"], f"{route.rpc} has no comment"
        assert str(route.success_status) in operation["responses"]


def test_rules_of_the_contract_are_constraints() -> None:
    threshold = DOCUMENT["components"]["schemas"]["tocsin.alerts.v1.AccountThresholdCondition"]["properties"]
    assert threshold["direction"]["enum"] == ["below", "above"]
    assert threshold["currency"]["pattern"] == "^[A-Z]{3}$"
    milestones = DOCUMENT["components"]["schemas"]["tocsin.alerts.v1.GoalCondition"]["properties"]["milestones"]
    assert milestones["items"] | {"minimum": 1, "maximum": 100} == milestones["items"]
