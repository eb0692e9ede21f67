"""All simulators as a process of their own: `python -m tocsin_devstack.simulators settings.json`."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from random import SystemRandom

from pydantic import BaseModel

from tocsin_devstack.push_service import PushService
from tocsin_devstack.sendgrid import SendGridSimulator
from tocsin_devstack.server import serving
from tocsin_devstack.smtp import SmtpSimulator, taking_mail
from tocsin_devstack.twilio import TwilioSimulator
from tocsin_devstack.webhook_receiver import WebhookReceiver
from tocsin_devstack.wiring import SMTP_USERNAME
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SystemClock


class SimulatorSettings(BaseModel):
    """What the process is told; spans in seconds. `contracts` is the folder of the providers' documents, if any."""

    sendgrid_port: int
    sendgrid_api_key: str
    twilio_port: int
    twilio_account_sid: str
    twilio_auth_token: str
    push_port: int = 0
    webhooks_port: int = 0
    smtp_port: int = 0
    smtp_control_port: int = 0
    smtp_password: str = ""
    public_url: str
    contracts: Path | None = None
    latency: timedelta = timedelta()
    callback_step: timedelta = timedelta(milliseconds=300)

    def sendgrid(self, activity: Activity) -> SendGridSimulator:
        """A SendGrid of these settings on the machine's clock."""
        return SendGridSimulator(
            clock=SystemClock(),
            activity=activity,
            random=SystemRandom(),
            api_key=self.sendgrid_api_key,
            callback_url=f"{self.public_url}/webhooks/sendgrid",
            contracts=self.contracts,
            latency=self.latency,
            callback_step=self.callback_step,
        )

    def twilio(self, activity: Activity) -> TwilioSimulator:
        """A Twilio of these settings on the machine's clock."""
        return TwilioSimulator(
            clock=SystemClock(),
            activity=activity,
            random=SystemRandom(),
            account_sid=self.twilio_account_sid,
            auth_token=self.twilio_auth_token,
            inbound_url=f"{self.public_url}/webhooks/twilio/inbound",
            contracts=self.contracts,
            latency=self.latency,
            callback_step=self.callback_step,
        )

    def push(self, activity: Activity) -> PushService:
        """A push service on the machine's clock."""
        return PushService(clock=SystemClock(), activity=activity, random=SystemRandom(), latency=self.latency)

    def webhooks(self, activity: Activity) -> WebhookReceiver:
        """A receiver of webhooks on the machine's clock."""
        return WebhookReceiver(clock=SystemClock(), activity=activity, latency=self.latency)

    def smtp(self, activity: Activity) -> SmtpSimulator:
        """An SMTP server on the machine's clock."""
        return SmtpSimulator(
            clock=SystemClock(),
            activity=activity,
            username=SMTP_USERNAME,
            password=self.smtp_password,
            latency=self.latency,
        )


async def run(settings: SimulatorSettings) -> None:
    """Serve all until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    activity = Activity()
    async with AsyncExitStack() as all_:
        push = await all_.enter_async_context(serving(settings.push(activity), port=settings.push_port))
        webhooks = await all_.enter_async_context(serving(settings.webhooks(activity), port=settings.webhooks_port))
        smtp = settings.smtp(activity)
        smtp_control = await all_.enter_async_context(serving(smtp, port=settings.smtp_control_port))
        await all_.enter_async_context(taking_mail(smtp, port=settings.smtp_port))
        sendgrid = await all_.enter_async_context(serving(settings.sendgrid(activity), port=settings.sendgrid_port))
        twilio = await all_.enter_async_context(serving(settings.twilio(activity), port=settings.twilio_port))
        print(
            f"sendgrid {sendgrid} twilio {twilio} push {push} webhooks {webhooks} smtp {smtp.port}, {smtp_control}",
            flush=True,
        )
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(run(SimulatorSettings.model_validate_json(Path(sys.argv[1]).read_text())))
