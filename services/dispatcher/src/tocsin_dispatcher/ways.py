"""The ways by which e-mails and text messages leave, as the settings say: media, providers in order, accounts."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from opentelemetry.trace import Tracer
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin_dispatcher.channels.email import Email
from tocsin_dispatcher.channels.sms import Sms
from tocsin_dispatcher.delivering.way import BuiltIn, MediumWay, Way
from tocsin_dispatcher.providers.http import HttpClient
from tocsin_dispatcher.providers.mailbox import Mailbox
from tocsin_dispatcher.providers.provider import LookUp, Provider
from tocsin_dispatcher.providers.sendgrid import SendGrid, SendGridAccount
from tocsin_dispatcher.providers.smtp import Smtp
from tocsin_dispatcher.providers.smtp_connections import Server, smtp_connections
from tocsin_dispatcher.providers.smtp_mail import Sender
from tocsin_dispatcher.providers.twilio import Twilio, TwilioAccount
from tocsin_dispatcher.providers.twilio_look_up import TwilioLookUp
from tocsin_dispatcher.providers.vapid import Vapid
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.settings import DispatcherSettings
from tocsin_dispatcher.store.database import in_transaction
from tocsin_dispatcher.store.mailbox import keep
from tocsin_dispatcher.templating.composing import Worded
from tocsin_dispatcher.templating.wording import Wording
from tocsin_dispatcher.templating.words import EmailWords, SmsWords
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import (
    Attempt,
    Channel,
    EmailMessage,
    MailboxEntry,
    SmsMessage,
)
from tocsin_dispatcher.verifying.codes import Codes
from tocsin_dispatcher.verifying.composing import Coded
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids


def email_and_sms(
    settings: DispatcherSettings,
    http: HttpClient,
    smtp: Smtp | None,
    renderer: Renderer,
    links: UnsubscribeLinks,
    mailbox: Mailbox,
    wording: Wording,
    codes: Codes,
) -> Sequence[Way]:
    """The channels with a worker: medium, providers in order. A new provider is a line here."""
    email: dict[str, Provider[EmailMessage]] = {"mailbox": mailbox}
    if settings.sendgrid_api_key is not None:
        account = SendGridAccount(
            settings.sendgrid_api_key.get_secret_value(),
            settings.sendgrid_from_email,
            settings.sendgrid_from_name,
            settings.sendgrid_base_url,
        )
        email["sendgrid"] = SendGrid(account, http)
    if smtp is not None:
        email["smtp"] = smtp
    sms: Provider[SmsMessage] = mailbox
    look_up: LookUp | None = None
    if settings.twilio_account_sid and settings.twilio_auth_token is not None:
        twilio = TwilioAccount(
            settings.twilio_account_sid,
            settings.twilio_auth_token.get_secret_value(),
            settings.twilio_from_number,
            settings.twilio_messaging_service_sid,
            settings.twilio_base_url,
            settings.public_url,
        )
        sms, look_up = Twilio(twilio, http), TwilioLookUp(twilio, http)
    chain = [email[name] for name in settings.email_chain if name in email] or [mailbox]
    by_email, by_sms = Email(renderer, links), Sms(renderer)
    mails = Coded(Worded(BuiltIn(by_email), EmailWords(wording, by_email)), codes)
    texts = Coded(Worded(BuiltIn(by_sms), SmsWords(wording, by_sms)), codes)
    return [
        MediumWay(Channel.EMAIL, mails, chain, lambda _: None),
        MediumWay(Channel.SMS, texts, [sms], lambda message: message.size, look_up),
    ]


@asynccontextmanager
async def smtp_server(settings: DispatcherSettings, limit: timedelta, tracer: Tracer) -> AsyncIterator[Smtp | None]:
    """The SMTP server that is set up, if one is."""
    if not settings.smtp_host:
        yield None
        return
    sender = Sender(settings.sendgrid_from_email, settings.sendgrid_from_name)
    server = Server(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_security,
        settings.smtp_username,
        settings.smtp_password.get_secret_value(),
        sender.domain,
        settings.smtp_connections,
    )
    async with smtp_connections(server, limit, ssl.create_default_context()) as connections:
        yield Smtp(server, sender, connections, tracer)


def vapid_of(settings: DispatcherSettings) -> Vapid | None:
    """What push services know us by, if a key is set."""
    key = settings.vapid_private_key
    return None if key is None else Vapid(key, settings.vapid_subject)


def local_mailbox(engine: AsyncEngine, clock: Clock, ids: Ids) -> Mailbox:
    """The provider that stores what would have been sent, where no other is set up."""

    async def stored(entry: MailboxEntry, attempt: Attempt) -> None:
        await in_transaction(engine, lambda connection: keep(connection, ids.uuid7(), entry, attempt, clock.now()))

    return Mailbox(stored)
