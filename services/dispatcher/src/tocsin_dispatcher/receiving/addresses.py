"""What receipts do to addresses: on the suppression list and off it, and to what a person wants to hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.receipts import emails_of, partners_knowing, switch_off
from tocsin_dispatcher.store.suppressions import AddressKey, Said, heed
from tocsin_dispatcher.values import AlertKind, Channel, Delivery, KindSwitch, ManyKinds, Receipt

Found = Sequence[tuple[Receipt, Delivery | None]]


@dataclass(frozen=True)
class Addresses:
    """Does as receipts say of addresses, inside their transaction."""

    address_key: bytes

    async def heed(self, connection: Connection, found: Found, now: datetime) -> None:
        """Each receipt with the delivery it is about; None where that is not known, or it is about none."""
        named = [(one, partner, address) for one, about in found for partner, address in _address(one, about)]
        knowing = await partners_knowing(connection, [address for _, partner, address in named if partner is None])
        said: list[Said] = []
        for receipt, partner, address in named:
            for one in knowing[address] if partner is None else [partner]:
                said += _said(receipt, self._key(one, receipt.channel, address))
        said += await self._switched(connection, [receipt for receipt, _ in found], now)
        await heed(connection, said)

    async def _switched(self, connection: Connection, receipts: Sequence[Receipt], now: datetime) -> list[Said]:
        """Who wants no more of one kind, or of all alerts, has them switched off; who wants no more e-mail at all has
        the address on the list, so that nothing the bank thinks necessary goes there either."""
        switches = [(one, one.switch_off) for one in receipts if one.switch_off is not None]
        emails = await emails_of(connection, [_user(switch) for _, switch in switches if switch.kind is ManyKinds.ALL])
        said = []
        for receipt, switch in switches:
            email = emails.get(_user(switch))
            if switch.kind is ManyKinds.ALL and switch.channel is Channel.EMAIL and email is not None:
                key = self._key(switch.partner_id, Channel.EMAIL, email)
                said.append(Said(key, SuppressionCause.UNSUBSCRIBED, receipt.at, _by(receipt)))
                continue
            for kind in [switch.kind] if isinstance(switch.kind, AlertKind) else AlertKind:
                await switch_off(connection, _user(switch), kind, switch.channel, now)
        return said

    def _key(self, partner_id: int, channel: Channel, address: str) -> AddressKey:
        return AddressKey(partner_id, channel, address_hash(self.address_key, partner_id, channel, address))


def _address(receipt: Receipt, about: Delivery | None) -> list[tuple[int | None, str]]:
    """The address a receipt speaks of, and the bank it concerns. A number that wrote to us is everybody's who knows it
    (None): all banks' texts come from the one sender that the person has answered."""
    address = receipt.address or (about and about.destination)
    if not address or not (receipt.suppress or receipt.lift):
        return []
    return [(receipt.partner_id if about is None else about.partner_id, address)]


def _said(receipt: Receipt, key: AddressKey) -> list[Said]:
    said = []
    if receipt.suppress is not None:
        said.append(Said(key, receipt.suppress, receipt.at, _by(receipt)))
    if receipt.lift is not None:
        only_of = None if receipt.lift_only_of is None else f"{receipt.provider} {receipt.lift_only_of}"
        said.append(Said(key, receipt.lift, receipt.at, _by(receipt), lifts=True, only_of=only_of))
    return said


def _by(receipt: Receipt) -> str:
    return f"{receipt.provider} {receipt.name}".strip()


def _user(switch: KindSwitch) -> UserKey:
    return UserKey(switch.partner_id, switch.user_id)
