"""What every proto has to keep: comments, access rights, REST routes, rules, and code that is what the protos say."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, MethodDescriptorProto

from tocsin.options.v1 import options_pb2

PROJECT = Path(__file__).resolve().parents[2]
GENERATE = PROJECT / "protos" / "generate.py"

ADMIN = "/api/v2/admin"

# Every route, as the contract's table names it, with the method it leads to and who may call.
ROUTES = {
    ("GET", "/api/v2/alerts"): ("AlertService.ListAlerts", "USER"),
    ("POST", "/api/v2/alerts"): ("AlertService.CreateAlert", "USER"),
    ("GET", "/api/v2/alerts/{id}"): ("AlertService.GetAlert", "USER"),
    ("PUT", "/api/v2/alerts/{id}"): ("AlertService.UpdateAlert", "USER"),
    ("PATCH", "/api/v2/alerts/{id}"): ("AlertService.UpdateAlert", "USER"),
    ("DELETE", "/api/v2/alerts/{id}"): ("AlertService.DeleteAlert", "USER"),
    ("POST", "/api/v2/alerts/{id}/evaluate"): ("AlertService.EvaluateAlert", "USER"),
    ("GET", "/api/v2/alerts/{id}/explain"): ("AlertService.ExplainAlert", "USER"),
    ("POST", "/api/v2/alerts:backtest"): ("AlertService.BacktestAlert", "USER"),
    ("GET", "/api/v2/alerts/{id}/firings"): ("AlertService.ListFirings", "USER"),
    ("POST", "/api/v2/ingest/profiles"): ("FactService.PutProfiles", "SERVICE"),
    ("POST", "/api/v2/ingest/accounts"): ("FactService.PutAccounts", "SERVICE"),
    ("POST", "/api/v2/ingest/goals"): ("FactService.PutGoals", "SERVICE"),
    ("POST", "/api/v2/ingest/budgets"): ("FactService.PutBudgets", "SERVICE"),
    ("POST", "/api/v2/ingest/bills"): ("FactService.PutBills", "SERVICE"),
    ("POST", "/api/v2/ingest/transactions"): ("FactService.PostTransactions", "SERVICE"),
    ("POST", "/api/v2/ingest:delete"): ("FactService.DeleteFacts", "SERVICE"),
    ("GET", "/api/v2/preferences"): ("PreferenceService.GetPreferences", "USER"),
    ("PUT", "/api/v2/preferences"): ("PreferenceService.UpdatePreferences", "USER"),
    ("PATCH", "/api/v2/preferences"): ("PreferenceService.UpdatePreferences", "USER"),
    ("POST", "/api/v2/preferences/{channel}:verify"): ("PreferenceService.StartVerification", "USER"),
    ("POST", "/api/v2/preferences/{channel}:confirm"): ("PreferenceService.ConfirmVerification", "USER"),
    ("GET", "/api/v2/notifications"): ("NotificationService.ListNotifications", "USER"),
    ("GET", "/api/v2/notifications/{id}"): ("NotificationService.GetNotification", "USER"),
    ("GET", "/api/v2/notifications/unread-count"): ("NotificationService.CountUnread", "USER"),
    ("PUT", "/api/v2/notifications/{id}/read"): ("NotificationService.MarkRead", "USER"),
    ("POST", "/api/v2/notifications:read-all"): ("NotificationService.MarkAllRead", "USER"),
    ("DELETE", "/api/v2/notifications/{id}"): ("NotificationService.DeleteNotification", "USER"),
    ("GET", "/api/v2/notifications/{id}/timeline"): ("NotificationService.GetTimeline", "USER ADMIN"),
    ("GET", f"{ADMIN}/deliveries"): ("DeliveryService.ListDeliveries", "ADMIN"),
    ("GET", f"{ADMIN}/deliveries/{{id}}"): ("DeliveryService.GetDelivery", "ADMIN"),
    ("POST", f"{ADMIN}/deliveries/{{id}}:retry"): ("DeliveryService.RetryDelivery", "ADMIN"),
    ("POST", f"{ADMIN}/deliveries:retry"): ("DeliveryService.RetryFailedDeliveries", "ADMIN"),
    ("GET", f"{ADMIN}/dead-letters"): ("DeliveryService.ListDeadLetters", "ADMIN"),
    ("GET", f"{ADMIN}/dead-letters/{{id}}"): ("DeliveryService.GetDeadLetter", "ADMIN"),
    ("POST", f"{ADMIN}/dead-letters:retry"): ("DeliveryService.RetryDeadLetters", "ADMIN"),
    ("GET", f"{ADMIN}/suppressions"): ("SuppressionService.ListSuppressions", "PARTNER ADMIN"),
    ("POST", f"{ADMIN}/suppressions"): ("SuppressionService.AddSuppression", "PARTNER ADMIN"),
    ("DELETE", f"{ADMIN}/suppressions/{{id}}"): ("SuppressionService.RemoveSuppression", "PARTNER ADMIN"),
    ("GET", f"{ADMIN}/circuit-breakers"): ("DeliveryService.ListCircuitBreakers", "ADMIN"),
    ("POST", f"{ADMIN}/circuit-breakers/{{id}}:reset"): ("DeliveryService.ResetCircuitBreaker", "ADMIN"),
    ("GET", f"{ADMIN}/ledger"): ("DeliveryService.GetLedger", "ADMIN"),
    ("GET", f"{ADMIN}/mailbox"): ("DeliveryService.ListMailbox", "ADMIN"),
    ("GET", "/api/v2/push-subscriptions"): ("PreferenceService.ListPushSubscriptions", "USER"),
    ("POST", "/api/v2/push-subscriptions"): ("PreferenceService.CreatePushSubscription", "USER"),
    ("DELETE", "/api/v2/push-subscriptions/{push_subscription_id}"): (
        "PreferenceService.DeletePushSubscription",
        "USER",
    ),
    ("POST", "/api/v2/push-subscriptions/{push_subscription_id}:test"): (
        "PreferenceService.TestPushSubscription",
        "USER",
    ),
    ("GET", "/api/v2/webhook-endpoints"): ("PreferenceService.ListWebhookEndpoints", "USER PARTNER"),
    ("POST", "/api/v2/webhook-endpoints"): ("PreferenceService.CreateWebhookEndpoint", "USER PARTNER"),
    ("DELETE", "/api/v2/webhook-endpoints/{webhook_endpoint_id}"): (
        "PreferenceService.DeleteWebhookEndpoint",
        "USER PARTNER",
    ),
    ("POST", "/api/v2/webhook-endpoints/{webhook_endpoint_id}:rotate-secret"): (
        "PreferenceService.RotateWebhookSecret",
        "USER PARTNER",
    ),
    ("POST", "/api/v2/webhook-endpoints/{webhook_endpoint_id}:test"): (
        "PreferenceService.TestWebhookEndpoint",
        "USER PARTNER",
    ),
    ("GET", "/api/v2/partner-settings"): ("PartnerService.GetPartnerSettings", "PARTNER"),
    ("PUT", "/api/v2/partner-settings"): ("PartnerService.UpdatePartnerSettings", "PARTNER"),
    ("PATCH", "/api/v2/partner-settings"): ("PartnerService.UpdatePartnerSettings", "PARTNER"),
    ("GET", "/api/v2/templates"): ("TemplateService.ListTemplates", "PARTNER"),
    ("POST", "/api/v2/templates"): ("TemplateService.CreateTemplate", "PARTNER"),
    ("GET", "/api/v2/templates/{id}"): ("TemplateService.GetTemplate", "PARTNER"),
    ("POST", "/api/v2/templates/{id}:preview"): ("TemplateService.PreviewTemplate", "PARTNER"),
    ("POST", "/api/v2/templates/{id}:activate"): ("TemplateService.ActivateTemplate", "PARTNER"),
    ("POST", "/api/v2/templates/{id}:rollback"): ("TemplateService.RollBackTemplate", "PARTNER"),
    ("POST", "/api/v2/templates/{id}:test-send"): ("TemplateService.TestSendTemplate", "PARTNER"),
    ("GET", f"{ADMIN}/jobs/stats"): ("JobService.GetJobStats", "ADMIN"),
    ("GET", f"{ADMIN}/evaluations"): ("EvaluationService.GetEvaluationLedger", "ADMIN"),
    ("GET", f"{ADMIN}/jobs/status"): ("JobService.ListJobs", "ADMIN"),
    ("GET", f"{ADMIN}/jobs/failed"): ("JobService.ListFailedJobs", "ADMIN"),
    ("GET", f"{ADMIN}/jobs/{{id}}"): ("JobService.GetJob", "ADMIN"),
    ("POST", f"{ADMIN}/jobs/{{id}}:cancel"): ("JobService.CancelJob", "ADMIN"),
    ("POST", f"{ADMIN}/jobs/retry/{{id}}"): ("JobService.RetryJob", "ADMIN"),
    ("POST", f"{ADMIN}/jobs/trigger"): ("JobService.TriggerJob", "ADMIN"),
    ("POST", f"{ADMIN}/alerts/evaluate-user/{{user_id}}"): ("JobService.TriggerJob", "ADMIN"),
    ("GET", f"{ADMIN}/schedules"): ("ScheduleService.ListSchedules", "ADMIN"),
    ("PATCH", f"{ADMIN}/schedules/{{name}}"): ("ScheduleService.UpdateSchedule", "ADMIN"),
    ("POST", f"{ADMIN}/schedules/{{name}}:pause"): ("ScheduleService.PauseSchedule", "ADMIN"),
    ("POST", f"{ADMIN}/schedules/{{name}}:resume"): ("ScheduleService.ResumeSchedule", "ADMIN"),
    ("POST", f"{ADMIN}/schedules/{{name}}:run"): ("ScheduleService.RunSchedule", "ADMIN"),
}

# Methods that are called by gRPC only, with who may call.
GRPC_ONLY = {
    "EvaluationService.RecheckFirings": "INTERNAL",
    "EvaluationService.SummariseFirings": "INTERNAL",
    "EvaluationService.RepublishFirings": "INTERNAL ADMIN",
    "EvaluationService.SummariseProfiles": "INTERNAL",
    "EvaluationService.RepublishProfiles": "INTERNAL ADMIN",
    "NotificationService.ListChanges": "USER",
    "NotificationService.AcknowledgeNotifications": "USER",
    "DeliveryService.FindUnknownCallbacks": "INTERNAL",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[FileDescriptorProto]:
    """The project's own protos with their comments, as protoc reads them now."""
    spec = spec_from_file_location("generate", GENERATE)
    assert spec is not None
    assert spec.loader is not None
    generate = module_from_spec(spec)
    spec.loader.exec_module(generate)
    image = tmp_path_factory.mktemp("image") / "image.binpb"
    generate.write_image(image, with_source=True)
    everything = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    return [file for file in everything.file if file.name.startswith("tocsin/")]


def methods(files: list[FileDescriptorProto]) -> dict[str, MethodDescriptorProto]:
    """Every method by `Service.Method`."""
    return {
        f"{service.name}.{method.name}": method
        for file in files
        for service in file.service
        for method in service.method
    }


def scopes(method: MethodDescriptorProto) -> str:
    """Who may call a method, in the contract's words."""
    names = (options_pb2.Scope.Name(scope) for scope in method.options.Extensions[options_pb2.access].scopes)
    return " ".join(name.removeprefix("SCOPE_") for name in names)


def http_rules(method: MethodDescriptorProto) -> list[http_pb2.HttpRule]:
    """A method's REST bindings; none where it is gRPC only."""
    http: Any = annotations_pb2.http
    if not method.options.HasExtension(http):
        return []
    rule: http_pb2.HttpRule = method.options.Extensions[http]
    return [rule, *rule.additional_bindings]


def verb_and_path(rule: http_pb2.HttpRule) -> tuple[str, str]:
    """A binding's HTTP verb and path."""
    verb = rule.WhichOneof("pattern")
    assert verb is not None
    return verb.upper(), getattr(rule, verb)


def test_every_rest_route_is_unique_and_is_the_one_the_contract_names(files: list[FileDescriptorProto]) -> None:
    found = [
        (verb_and_path(rule), (name, scopes(method)))
        for name, method in methods(files).items()
        for rule in http_rules(method)
    ]
    assert len(dict(found)) == len(found), "two methods share a route"
    assert dict(found) == ROUTES


def test_every_method_without_a_route_is_one_the_contract_calls_grpc_only(files: list[FileDescriptorProto]) -> None:
    found = {name: scopes(method) for name, method in methods(files).items() if not http_rules(method)}
    assert found == GRPC_ONLY


def test_every_method_says_who_may_call_it(files: list[FileDescriptorProto]) -> None:
    without = [name for name, method in methods(files).items() if not scopes(method) or "UNSPECIFIED" in scopes(method)]
    assert not without


def test_body_and_response_body_name_fields_that_exist(files: list[FileDescriptorProto]) -> None:
    messages = {f".{file.package}.{message.name}": message for file in files for message in file.message_type}
    for name, method in methods(files).items():
        taken = {field.name for field in messages[method.input_type].field}
        answered = {field.name for field in messages[method.output_type].field}
        for rule in http_rules(method):
            in_path = set(re.findall(r"{(\w+)}", verb_and_path(rule)[1]))
            assert in_path <= taken, f"{name}: its path names what its request lacks"
            assert rule.body in {"", "*"} | taken, f"{name}: its body is no field"
            assert rule.response_body in {""} | answered, f"{name}: its response_body is no field"


def undocumented(file: FileDescriptorProto) -> Iterator[str]:
    """Messages, fields, oneofs, enums, values, services, methods and the package of a file that have no comment."""
    told = {tuple(place.path) for place in file.source_code_info.location if place.leading_comments.strip()}

    def message(path: tuple[int, ...], name: str, shape: DescriptorProto) -> Iterator[str]:
        yield from missing(path, name)
        for number, field in enumerate(shape.field):
            yield from missing((*path, 2, number), f"{name}.{field.name}")
        for number, nested in enumerate(shape.nested_type):
            if not nested.options.map_entry:
                yield from message((*path, 3, number), f"{name}.{nested.name}", nested)
        optional = {field.oneof_index for field in shape.field if field.proto3_optional}
        for number, oneof in enumerate(shape.oneof_decl):
            if number not in optional:
                yield from missing((*path, 8, number), f"{name}.{oneof.name}")

    def missing(path: tuple[int, ...], name: str) -> Iterator[str]:
        if path not in told:
            yield f"{file.name}: {name}"

    yield from missing((2,), "package")
    for number, shape in enumerate(file.message_type):
        yield from message((4, number), shape.name, shape)
    for number, enum in enumerate(file.enum_type):
        yield from missing((5, number), enum.name)
        for position, value in enumerate(enum.value):
            yield from missing((5, number, 2, position), value.name)
    for number, service in enumerate(file.service):
        yield from missing((6, number), service.name)
        for position, method in enumerate(service.method):
            yield from missing((6, number, 2, position), f"{service.name}.{method.name}")
    for number, extension in enumerate(file.extension):
        yield from missing((7, number), extension.name)


def test_everything_in_the_protos_has_a_comment(files: list[FileDescriptorProto]) -> None:
    assert [name for file in files for name in undocumented(file)] == []


@pytest.mark.parametrize("check", ["--check", "--lint", "--breaking"])
def test_the_contract_keeps_its_promises(check: str) -> None:
    """Generated code is what the protos say; buf finds no fault; nothing released is broken."""
    run = subprocess.run([sys.executable, str(GENERATE), check], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
