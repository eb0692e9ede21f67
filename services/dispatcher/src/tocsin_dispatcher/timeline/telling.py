"""What made an alert fire, in the words of its own templates."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from tocsin_dispatcher.rendering.formats import locale_named
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.timeline.entries import Tell
from tocsin_dispatcher.values import FiringContext

_ENGLISH = "en-US"


def in_english(renderer: Renderer) -> Tell:
    """The inbox's message of the built-in templates, as it was on the day."""

    def tell(context: FiringContext, zone: ZoneInfo, at: datetime) -> str:
        return renderer.in_app(context, Reader(locale_named(_ENGLISH), zone, at)).message

    return tell
