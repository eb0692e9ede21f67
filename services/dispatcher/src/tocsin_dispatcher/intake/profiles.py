"""A batch of profiles becomes contacts, and what waited for them is released."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.inboxes import lock_inboxes
from tocsin_dispatcher.store.profiles_awaited import release_awaiting
from tocsin_dispatcher.store.recipients import Profile, put_profiles
from tocsin_dispatcher.values import Channel
from tocsin_kit.clock import Clock
from tocsin_kit.halves import in_halves
from tocsin_kit.loops import Bell
from tocsin_kit.transient import is_data_error


@dataclass(frozen=True)
class Profiles:
    """Takes batches of profiles in. `bells` wakes a channel's lane."""

    engine: Engine
    bells: Mapping[Channel, Bell]
    clock: Clock

    async def take_in(self, profiles: Sequence[Profile]) -> list[tuple[Profile, Exception]]:
        """Store the newest version of each; answers those whose data cannot be stored."""
        newest: dict[UserKey, Profile] = {}
        for profile in sorted(profiles, key=lambda profile: profile.contact.version):
            newest[UserKey(profile.contact.partner_id, profile.contact.user_id)] = profile
        ordered = [newest[user] for user in sorted(newest)]
        return await in_halves(ordered, self._together, is_data_error)

    async def _together(self, profiles: Sequence[Profile]) -> None:
        channels = await in_transaction(self.engine, lambda connection: self._write(connection, profiles))
        for channel in channels & self.bells.keys():
            self.bells[channel].set()

    async def _write(self, connection: Connection, profiles: Sequence[Profile]) -> frozenset[Channel]:
        users = [UserKey(profile.contact.partner_id, profile.contact.user_id) for profile in profiles]
        # Inboxes first, as intake does: it reads contacts under this lock, so it either sees the new contact or has
        # committed what it held by the time the next statement looks for it.
        await lock_inboxes(connection, users)
        await put_profiles(connection, profiles)
        return await release_awaiting(connection, users, self.clock.now())
