"""What the dispatcher asks the evaluator. Nothing there changes an alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import grpc
import structlog

from tocsin.alerts.v1 import evaluation_pb2, evaluation_pb2_grpc
from tocsin_dispatcher.store.contact_sums import ProfileSum
from tocsin_dispatcher.values import AlertStanding
from tocsin_dispatcher.values.minutes import Minute
from tocsin_kit.rpc.errors import from_rpc_error

#: Without an answer by then a message is sent as if its alert still stood.
RECHECK_LIMIT = timedelta(seconds=2)
_AT_ONCE = 1000
_STANDINGS = {
    evaluation_pb2.RECHECK_VERDICT_HOLDS: AlertStanding.HOLDS,
    evaluation_pb2.RECHECK_VERDICT_NO_LONGER_TRUE: AlertStanding.NO_LONGER_TRUE,
    evaluation_pb2.RECHECK_VERDICT_ALERT_GONE: AlertStanding.ALERT_GONE,
    evaluation_pb2.RECHECK_VERDICT_SNOOZED: AlertStanding.SNOOZED,
}
_log = structlog.get_logger(__name__)


class Evaluator:
    """A client of the evaluator's EvaluationService."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = evaluation_pb2_grpc.EvaluationServiceStub(channel)
        self._answers = True

    async def recheck(self, firings: Sequence[tuple[int, UUID]]) -> Mapping[UUID, AlertStanding]:
        """How the alerts of these firings stand, by firing id; nothing of those it did not hear of in time."""
        standings: dict[UUID, AlertStanding] = {}
        for start in range(0, len(firings), _AT_ONCE):
            asked = firings[start : start + _AT_ONCE]
            ids = {str(firing_id): firing_id for _, firing_id in asked}
            references = [
                evaluation_pb2.FiringReference(partner_id=partner_id, firing_id=str(firing_id))
                for partner_id, firing_id in asked
            ]
            answer = await self._recheck(evaluation_pb2.RecheckFiringsRequest(firings=references))
            if answer is None:
                return standings
            standings |= {
                ids[one.firing_id]: _STANDINGS[one.verdict]
                for one in answer.firings
                if one.firing_id in ids and one.verdict in _STANDINGS
            }
        return standings

    async def _recheck(
        self, request: evaluation_pb2.RecheckFiringsRequest
    ) -> evaluation_pb2.RecheckFiringsResponse | None:
        """The answer; None where none came in time, or none that can be read."""
        try:
            answer: evaluation_pb2.RecheckFiringsResponse | None = await self._stub.RecheckFirings(
                request, timeout=RECHECK_LIMIT.total_seconds()
            )
        except grpc.aio.AioRpcError as error:
            self._note(error.code().name)
            return None
        if answer is None:  # so gRPC hands over bytes that are no such message
            self._note("UNREADABLE")
            return None
        self._answers = True
        return answer

    async def summarise(self, partner_id: int, since: datetime, until: datetime) -> list[Minute]:
        """The firings of each minute that had some. Raises TocsinError."""
        request = evaluation_pb2.SummariseFiringsRequest(partner_id=partner_id)
        request.since.FromDatetime(since)
        request.until.FromDatetime(until)
        try:
            answer = await self._stub.SummariseFirings(request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return [Minute(one.minute.ToDatetime(UTC), one.count, one.xor_high, one.xor_low) for one in answer.minutes]

    async def republish(self, since: datetime, until: datetime) -> int:
        """Have the firings of a span sent again; how many there are. Raises TocsinError."""
        request = evaluation_pb2.RepublishFiringsRequest()
        request.since.FromDatetime(since)
        request.until.FromDatetime(until)
        try:
            return (await self._stub.RepublishFirings(request)).published
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def profile_sums(self, partner_id: int) -> list[ProfileSum]:
        """Versions summed up: a line per partner (0), or of one partner a line per part. Raises TocsinError."""
        request = evaluation_pb2.SummariseProfilesRequest(partner_id=partner_id)
        try:
            answer = await self._stub.SummariseProfiles(request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return [ProfileSum(one.partner_id, one.part, one.count, one.xor) for one in answer.sums]

    async def republish_profiles(
        self, partner_id: int, parts: Sequence[int], after: int | None
    ) -> tuple[int, int | None]:
        """Have the profiles of some parts sent again, from the user beyond `after` on; how many there are, and the last
        user where there are more. Raises TocsinError."""
        request = evaluation_pb2.RepublishProfilesRequest(partner_id=partner_id, parts=parts, after_user_id=after)
        try:
            answer = await self._stub.RepublishProfiles(request)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        return answer.published, answer.last_user_id if answer.HasField("last_user_id") else None

    def _note(self, code: str) -> None:
        if self._answers:
            _log.warning("evaluator_does_not_answer", code=code)
        self._answers = False
