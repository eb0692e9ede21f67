"""One trace from the caller's request over firing and delivery to the providers' calls and their callbacks."""

from functools import partial

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import EMAIL, PHONE
from tocsin_devstack.otlp import Node, receiving_spans

TRACE = "0af7651916cd43dd8448eb211c80319c"
#: Where each provider calls back, and the subject on which that is handed on.
WAYS = {
    "sendgrid": ("/webhooks/sendgrid", "tocsin.receipts.sendgrid"),
    "twilio": ("/webhooks/twilio/status", "tocsin.receipts.twilio-status"),
}


def calls(node: Node) -> list[Node]:
    """What was called over HTTP within a node."""
    return [below for below in node.walk() if below.span.kind == "CLIENT" and "url.full" in below.span.attributes]


def is_under(above: str, below: str, root: Node) -> bool:
    """Whether the tree begins with a span of the one name and holds one of the other."""
    return root.is_called(above) and root.find(below) is not None


def is_whole(root: Node) -> bool:
    """Whether both providers were called and both have called back."""
    return len(calls(root)) == len(WAYS) and all(root.find(f"receipt {provider}") for provider in WAYS)


async def test_a_posted_transaction_is_one_trace_up_to_the_providers_callbacks(timetable: OpenTimetable) -> None:
    async with receiving_spans() as spans, timetable("2025-11-03 09:00", spans=spans) as day:
        await day.alert(transaction_limit={"amount": "100.00", "currency": "USD"}, sms_delivery=True)
        await day.at("09:05")
        answer = await day.stack.rest(
            "POST",
            "/api/v2/ingest/transactions",
            token=day.stack.service_token(),
            body={"transactions": [day.purchase("250.00", posted_on="2025-11-03").item]},
            headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
        )
        assert answer.status == 200
        await day.want(
            "email: Large transaction",
            "sms: Large transaction: $250.00 (limit: $100.00)",
            "inbox: Large transaction",
        )
        await day.at("09:10")  # the providers have called back by then

        root = await spans.tree(TRACE, until=is_whole)

        assert root.is_called("POST /api/v2/ingest/transactions", "tocsin-gateway"), root.drawn()
        ingest = root.find("tocsin.alerts.v1.FactService/PostTransactions", "tocsin-evaluator")
        assert ingest is not None, root.drawn()
        intake = ingest.find("process tocsin.firings.realtime", "tocsin-dispatcher")
        assert intake is not None, root.drawn()
        assert len(calls(intake)) == len(WAYS), root.drawn()
        for provider, (path, subject) in WAYS.items():
            receipt = intake.find(f"receipt {provider}", "tocsin-dispatcher")
            assert receipt is not None, root.drawn()
            (callback,) = receipt.span.linked_traces
            received = await spans.tree(callback, until=partial(is_under, f"POST {path}", f"process {subject}"))
            assert received.span.service == "tocsin-gateway", received.drawn()
        for node in root.walk():
            told = " ".join(str(value) for value in node.span.attributes.values())
            for secret in (EMAIL, PHONE, "250.00"):
                assert secret not in told, f"{node.span.name}: {told}"
