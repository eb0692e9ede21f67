"""URLs that people give us to call: what one may look like. Where it leads is looked at when it is called."""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

KNOWN_PUSH_SERVICES = (
    "fcm.googleapis.com",  # Chrome, Edge on Android, Opera, Samsung
    "push.services.mozilla.com",  # Firefox
    "push.apple.com",  # Safari
    "notify.windows.com",  # Edge on Windows
)
"""Hosts, and the ends of hosts, of the push services of browsers."""
_USUAL_PORTS = {"https": 443, "http": 80}


class NotCallable(ValueError):
    """Not a URL that we call; the message says why, for whoever gave it."""


@dataclass(frozen=True)
class UrlRules:
    """What is taken. `push_services` are taken beside the known ones; `local` are addresses and ports of this machine,
    simulators on a laptop, that may be called over plain HTTP, and as push services."""

    push_services: tuple[str, ...] = ()
    local: frozenset[tuple[str, int]] = frozenset()

    def checked(self, url: str) -> SplitResult:
        """The parts of a URL that may be called. Raises NotCallable."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise NotCallable("is no URL") from None
        if not parts.hostname:
            raise NotCallable("names no host")
        if not _may_be_a_name(parts.hostname):
            raise NotCallable("names a host that cannot be")
        if parts.username is not None or parts.password is not None:
            raise NotCallable("must not hold a user or a password")
        if parts.fragment:
            raise NotCallable("must not hold a fragment")
        if port == 0:
            raise NotCallable("names a port that is none")
        if parts.scheme != "https" and not (parts.scheme == "http" and self._is_local(parts)):
            raise NotCallable("must begin with https://")
        return parts

    def checked_push(self, url: str) -> SplitResult:
        """The parts of a URL at a push service that may be called. Raises NotCallable."""
        parts = self.checked(url)
        host, known = parts.hostname or "", (*KNOWN_PUSH_SERVICES, *self.push_services)
        if not self._is_local(parts) and not any(host == one or host.endswith(f".{one}") for one in known):
            raise NotCallable("is at no push service that we know")
        return parts

    def _is_local(self, parts: SplitResult) -> bool:
        return (parts.hostname, parts.port or _USUAL_PORTS.get(parts.scheme)) in self.local


def _may_be_a_name(host: str) -> bool:
    """Whether a host can be asked for: each label has 1 to 63 octets (RFC 1035, 2.3.4)."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def origin(parts: SplitResult) -> str:
    """The URL without what may be secret: scheme, host and port, as RFC 6454, 6.2 writes them."""
    host = parts.hostname or ""
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}" if _port_is_usual(parts) else f"{parts.scheme}://{named}:{parts.port}"


def service_of(parts: SplitResult) -> str:
    """Names a push service: its host, and its port where that is not the usual one."""
    host = parts.hostname or ""
    return host if _port_is_usual(parts) else f"{host}_{parts.port}"


def _port_is_usual(parts: SplitResult) -> bool:
    return parts.port in (None, _USUAL_PORTS.get(parts.scheme))
