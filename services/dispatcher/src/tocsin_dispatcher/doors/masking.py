"""Addresses as operators see them."""


def masked(address: str | None) -> str:
    """The address with most of it hidden: `a***@example.com`, `+1******4567`; empty where there is none."""
    if not address:
        return ""
    name, at, domain = address.partition("@")
    if at:
        return f"{name[:1]}***@{domain}"
    return address[:2] + "*" * max(len(address) - 6, 0) + address[-4:] if len(address) > 6 else "***"
