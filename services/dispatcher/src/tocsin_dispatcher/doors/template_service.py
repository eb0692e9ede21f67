"""TemplateService: a bank's own words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import grpc

from tocsin.notifications.v1 import template_pb2, template_pb2_grpc
from tocsin_dispatcher.doors.notification_service import timestamp
from tocsin_dispatcher.doors.paging import place_of, size_of, token_of
from tocsin_dispatcher.doors.vocabulary import channel_of, channel_to_proto
from tocsin_dispatcher.rendering.formats import is_known
from tocsin_dispatcher.store.templates import WantedTemplates
from tocsin_dispatcher.templating.checking import Unchecked, Unfit
from tocsin_dispatcher.templating.examples import NoSuchValue
from tocsin_dispatcher.templating.trials import Trials
from tocsin_dispatcher.templating.versions import Versions
from tocsin_dispatcher.values import Part, Slot, TemplateKind, TemplateVersion
from tocsin_kit.ids import Ids
from tocsin_kit.postgres.idempotency import IdempotencyConflict, RequestKey
from tocsin_kit.rpc.caller import current_caller
from tocsin_kit.rpc.errors import Reason, TocsinError, invalid_field, unavailable

Context = grpc.aio.ServicerContext[Any, Any]


class TemplateServicer(template_pb2_grpc.TemplateServiceServicer):
    """Every one reaches the caller's own bank's."""

    def __init__(self, versions: Versions, trials: Trials, ids: Ids) -> None:
        self._versions, self._trials, self._ids = versions, trials, ids

    async def ListTemplates(
        self, request: template_pb2.ListTemplatesRequest, context: Context
    ) -> template_pb2.ListTemplatesResponse:
        """A page, newest first."""
        size = size_of(request.page_size)
        wanted = WantedTemplates(
            kind=_kind_of(request.kind) if request.kind else None,
            channel=channel_of(request.channel) if request.channel else None,
            locale=request.locale if request.HasField("locale") else None,
            only_active=request.active,
        )
        found = await self._versions.page(_partner(), wanted, size + 1, place_of(request.page_token))
        return template_pb2.ListTemplatesResponse(
            templates=[_template(one) for one in found[:size]],
            next_page_token=token_of(found[size - 1].created_at, found[size - 1].id) if len(found) > size else "",
        )

    async def CreateTemplate(
        self, request: template_pb2.CreateTemplateRequest, context: Context
    ) -> template_pb2.CreateTemplateResponse:
        """Add a version. Raises invalid_field, idempotency_conflict, unavailable."""
        given, partner_id, subject = request.template, _partner(), current_caller().subject
        if given.locale and not is_known(given.locale):
            raise invalid_field("template.locale", "is no locale that is known")
        slot = Slot(_kind_of(given.kind), channel_of(given.channel), given.locale or None)
        sources = {Part.SUBJECT: given.subject, Part.TEXT: given.text, Part.HTML: given.html}
        given_parts = {part.value: source for part, source in sources.items() if source}
        once = RequestKey(partner_id, subject, "CreateTemplate", request.request_id or str(self._ids.uuid7()))
        hashed = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        with _refusals("template."):
            added = await self._versions.add(partner_id, slot, given.name, given_parts, subject, once, hashed)
        return template_pb2.CreateTemplateResponse(template=_template(added))

    async def GetTemplate(
        self, request: template_pb2.GetTemplateRequest, context: Context
    ) -> template_pb2.GetTemplateResponse:
        """One. Raises not_found."""
        return template_pb2.GetTemplateResponse(
            template=_template(await self._versions.get(_partner(), UUID(request.id)))
        )

    async def PreviewTemplate(
        self, request: template_pb2.PreviewTemplateRequest, context: Context
    ) -> template_pb2.PreviewTemplateResponse:
        """What it makes of values. Raises not_found, invalid_field, unavailable."""
        if request.locale and not is_known(request.locale):
            raise invalid_field("locale", "is no locale that is known")
        with _refusals():
            made = await self._versions.preview(
                _partner(), UUID(request.id), request.locale, dict(request.values), request.hide_amounts
            )
        preview = template_pb2.TemplatePreview(
            segments=made.segments, **{str(part): made.parts[part] for part in made.parts}
        )
        return template_pb2.PreviewTemplateResponse(preview=preview)

    async def ActivateTemplate(
        self, request: template_pb2.ActivateTemplateRequest, context: Context
    ) -> template_pb2.ActivateTemplateResponse:
        """Put one in force. Raises not_found, invalid_field, unavailable."""
        with _refusals():
            activated = await self._versions.activate(_partner(), UUID(request.id), current_caller().subject)
        return template_pb2.ActivateTemplateResponse(template=_template(activated))

    async def RollBackTemplate(
        self, request: template_pb2.RollBackTemplateRequest, context: Context
    ) -> template_pb2.RollBackTemplateResponse:
        """Put the one before in force. Raises not_found, state_conflict."""
        before = await self._versions.roll_back(_partner(), UUID(request.id), current_caller().subject)
        return template_pb2.RollBackTemplateResponse(template=None if before is None else _template(before))

    async def TestSendTemplate(
        self, request: template_pb2.TestSendTemplateRequest, context: Context
    ) -> template_pb2.TestSendTemplateResponse:
        """Send one. Raises not_found, invalid_field, state_conflict, rate_limited, unavailable."""
        with _refusals():
            sent = await self._trials.send(_partner(), UUID(request.id), request.user_id, current_caller().subject)
        return template_pb2.TestSendTemplateResponse(delivery_id=str(sent))


def _partner() -> int:
    return current_caller().require_partner()


@contextmanager
def _refusals(prefix: str = "") -> Iterator[None]:
    """What the business refuses, in the contract's words; `prefix` leads the names of parts."""
    try:
        yield
    except Unfit as refusal:
        raise invalid_field(f"{prefix}{refusal.part}", refusal.why) from refusal
    except NoSuchValue as refusal:
        raise invalid_field("values", str(refusal)) from refusal
    except Unchecked as refusal:
        raise unavailable(str(refusal)) from refusal
    except IdempotencyConflict as conflict:
        raise TocsinError(str(conflict), Reason.IDEMPOTENCY_CONFLICT) from conflict


def _kind_of(value: template_pb2.TemplateKind.ValueType) -> TemplateKind:
    return TemplateKind(template_pb2.TemplateKind.Name(value).removeprefix("TEMPLATE_KIND_").lower())


def _template(one: TemplateVersion) -> template_pb2.Template:
    return template_pb2.Template(
        id=str(one.id),
        kind=template_pb2.TemplateKind.Value(f"TEMPLATE_KIND_{one.slot.kind.upper()}"),
        channel=channel_to_proto(one.slot.channel),
        locale=one.slot.locale or "",
        version=one.version,
        name=one.name,
        subject=one.sources.get(Part.SUBJECT, ""),
        text=one.sources.get(Part.TEXT, ""),
        html=one.sources.get(Part.HTML, ""),
        variables=one.variables,
        active=one.active,
        activated_at=timestamp(one.activated_at),
        created_at=timestamp(one.created_at),
        created_by=one.created_by,
        failures=one.failures,
        last_failed_at=timestamp(one.last_failed_at),
        last_failure=one.last_failure,
    )
