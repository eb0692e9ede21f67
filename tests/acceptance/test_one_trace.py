"""One trace from the caller's request over firing and delivery to the call of the provider."""

from tests.acceptance.conftest import OpenTimetable
from tocsin_devstack.otlp import receiving_spans

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_a_posted_transaction_is_one_trace_up_to_the_provider(timetable: OpenTimetable) -> None:
    async with receiving_spans() as spans, timetable("2025-11-03 09:00", spans=spans) as day:
        await day.alert(transaction_limit={"amount": "100.00", "currency": "USD"})
        await day.at("09:05")
        answer = await day.stack.rest(
            "POST",
            "/api/v2/ingest/transactions",
            token=day.stack.service_token(),
            body={"transactions": [day.purchase("250.00", posted_on="2025-11-03").item]},
            headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
        )
        assert answer.status == 200
        await day.want("email: Large transaction", "inbox: Large transaction")
        root = await spans.tree(TRACE)
        assert root.is_called("POST /api/v2/ingest/transactions", "tocsin-gateway"), root.drawn()
        ingest = root.find("tocsin.alerts.v1.FactService/PostTransactions", "tocsin-evaluator")
        assert ingest is not None, root.drawn()
        intake = ingest.find("process tocsin.firings.realtime", "tocsin-dispatcher")
        assert intake is not None, root.drawn()
        provider = next((node for node in intake.walk() if node.span.kind == "CLIENT"), None)
        assert provider is not None, root.drawn()
        for node in root.walk():
            told = " ".join(str(value) for value in node.span.attributes.values())
            assert "pat@example.com" not in told
            assert "250.00" not in told
