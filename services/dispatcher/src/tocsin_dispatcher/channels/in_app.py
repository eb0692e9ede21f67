"""In-app: the inbox of the bank's own app. Rendered when the firing is taken in, and never changed."""

from datetime import datetime

from tocsin_dispatcher.planning.local_time import zone_named
from tocsin_dispatcher.rendering.formats import locale_named
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.values import Firing, InAppMessage


class InApp:
    """Composes what the inbox shows."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def compose(self, firing: Firing, now: datetime) -> InAppMessage:
        """The inbox's title, message and link, in the locale and zone the evaluator knew."""
        reader = Reader(locale_named(firing.locale), zone_named(firing.time_zone), now)
        return self._renderer.in_app(firing.context, reader)
