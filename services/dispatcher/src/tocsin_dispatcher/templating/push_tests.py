"""What somebody reads who tries a browser out, in their language: in the bank's words, or the built-in ones."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin_dispatcher.channels.medium import reader_of
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.rendering.renderer import PushTexts, Renderer
from tocsin_dispatcher.store.database import Engine
from tocsin_dispatcher.store.recipients import Defaults, recipients
from tocsin_dispatcher.templating.wording import Wording
from tocsin_dispatcher.values import PushTest
from tocsin_kit.clock import Clock


@dataclass(frozen=True)
class PushTests:
    """Words tests of browsers."""

    engine: Engine
    clock: Clock
    wording: Wording
    renderer: Renderer
    defaults: Defaults

    async def texts(self, user: UserKey) -> PushTexts:
        """A test's, for its user."""
        async with self.engine.connect() as connection:
            known = (await recipients(connection, [user], self.defaults))[user]
        told, reader = PushTest(), reader_of(known.contact, self.clock.now(), known.preferences.hide_amounts)
        worded = await self.wording.push(user.partner_id, told, reader)
        return self.renderer.push(told, reader) if worded is None else worded
