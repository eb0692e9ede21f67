"""Push: a title, a message and a link, short enough to be sent encrypted, as JSON for the page's service worker."""

import json
from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.channels.medium import reader_of
from tocsin_dispatcher.destinations.push_keys import opened
from tocsin_dispatcher.providers.push_encryption import LARGEST_TEXT
from tocsin_dispatcher.rendering.renderer import PushTexts, Renderer
from tocsin_dispatcher.values import Notification, PushMessage, PushSubscription, Recipient
from tocsin_kit.sealing import Seals

_CUT = "..."
_LONGEST_TITLE = 200


class Push:
    """Composes push messages."""

    def __init__(self, renderer: Renderer, seals: Seals) -> None:
        self._renderer, self._seals = renderer, seals

    def compose(self, notification: Notification, recipient: Recipient, now: datetime) -> PushMessage:
        """The push message of one attempt, its message cut at a word where it is too long.

        Raises ValueError where it goes to no browser, or the browser's keys cannot be opened.
        """
        browser = recipient.destination
        if not isinstance(browser, PushSubscription):
            raise ValueError("a push message needs a browser")
        reader = reader_of(recipient.contact or notification, now, recipient.preferences.hide_amounts)
        texts = self._renderer.push(notification.context, reader)
        return message_to(browser, self._seals, worded(notification.id, texts), notification.critical)


def message_to(browser: PushSubscription, seals: Seals, text: bytes, urgent: bool) -> PushMessage:
    """The message to a browser. Raises CannotOpen where its keys cannot be opened."""
    keys = opened(browser, seals)
    return PushMessage(keys.url, keys.public_key, keys.auth, text, urgent)


def worded(id_: UUID, texts: PushTexts) -> bytes:
    """What the browser gets: the notification's id, title, message and link, in JSON of at most LARGEST_TEXT bytes."""
    words = texts.message
    while len(text := _json(id_, texts, words)) > LARGEST_TEXT and words:
        words = _shorter(words, len(text) - LARGEST_TEXT)
    return text


def _json(id_: UUID, texts: PushTexts, message: str) -> bytes:
    told = {"id": str(id_), "title": texts.title[:_LONGEST_TITLE], "message": message, "action_url": texts.action_url}
    return json.dumps(told, ensure_ascii=False).encode()


def _shorter(words: str, by: int) -> str:
    """The words without at least a few of the bytes that are too many; a character has at most 4, escaped 6."""
    kept = words.removesuffix(_CUT)
    kept = kept[: max(0, len(kept) - max(1, by // 6))]
    at_word = kept.rpartition(" ")[0] or kept
    return f"{at_word}{_CUT}" if at_word else ""
