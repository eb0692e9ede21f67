"""Addresses as the suppression list knows them: a keyed hash, so that the list holds no address."""

import hashlib
import hmac

from tocsin_dispatcher.values import Channel


def address_hash(key: bytes, partner_id: int, channel: Channel, address: str) -> bytes:
    """32 bytes that name the address on this channel for this partner (HMAC-SHA256, RFC 2104).

    Case and surrounding white space do not matter: providers write addresses as they like.
    """
    named = f"{partner_id}:{channel}:{address.strip().casefold()}"
    return hmac.digest(key, named.encode(), hashlib.sha256)
