"""The link that switches one kind of message off (RFC 8058): signed, single-purpose, and without an address."""

from collections.abc import Mapping
from dataclasses import dataclass

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.values import AlertKind, Channel, KindSwitch, ManyKinds, TemplateKind
from tocsin_kit.signed_tokens import SignedTokens

_PURPOSE = "tocsin unsubscribe"
_KINDS: Mapping[str, AlertKind | ManyKinds] = {kind.value: kind for kind in (*AlertKind, *ManyKinds)}


def kind_switch(user: UserKey, told: TemplateKind, channel: Channel) -> KindSwitch:
    """What the link in a message switches off: its kind of alert, of a digest every kind of alert, of what is no
    alert's whatever comes."""
    other = ManyKinds.ALERTS if told is TemplateKind.DIGEST else ManyKinds.ALL
    return KindSwitch(user.partner_id, user.user_id, _KINDS.get(told.value, other), channel)


@dataclass(frozen=True)
class UnsubscribeLinks:
    """Makes and reads the links; the first key signs, all of them verify, so that keys can be changed. The gateway,
    which shows their page, has the same ones."""

    keys: Mapping[str, bytes]
    public_url: str
    """https address of the gateway."""

    def url(self, switch: KindSwitch) -> str:
        """The link that switches it off."""
        return f"{self.public_url.rstrip('/')}/u/{self.token(switch)}"

    def token(self, switch: KindSwitch) -> str:
        """The signed token, URL-safe."""
        return self._tokens().made(f"{switch.partner_id}:{switch.user_id}:{switch.kind}:{switch.channel}")

    def read(self, token: str) -> KindSwitch | None:
        """What the token switches off; None when it is not one of ours."""
        claims = self._tokens().read(token)
        if claims is None:
            return None
        partner_id, user_id, kind, channel = claims.split(":")
        return KindSwitch(int(partner_id), int(user_id), _KINDS[kind], Channel(channel))

    def _tokens(self) -> SignedTokens:
        return SignedTokens(self.keys, _PURPOSE)
