"""What a browser alone can read: RFC 8291 (message encryption for Web Push) over RFC 8188 (aes128gcm)."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SALT_BYTES = 16
_RECORD_SIZE = 4096
_LAST_RECORD = b"\x02"
"""Ends the text of the last record, which here is the only one (RFC 8188, 2)."""
_HEADER_BYTES = SALT_BYTES + 4 + 1 + 65
_TAG_BYTES = 16
LARGEST_BODY = 4096
"""What a push service must take (RFC 8030, 7.2)."""
LARGEST_TEXT = LARGEST_BODY - _HEADER_BYTES - len(_LAST_RECORD) - _TAG_BYTES


def encrypted(text: bytes, browsers_key: bytes, auth: bytes, our_key: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """The body of a push message. `our_key` and `salt` are for this message only.

    Raises ValueError where the browser's key is no point of P-256, or the text is longer than LARGEST_TEXT.
    """
    if len(text) > LARGEST_TEXT:
        raise ValueError("the text is too long for a push message")
    browser = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), browsers_key)
    ours = encoded_point(our_key.public_key())
    info = b"WebPush: info\0" + browsers_key + ours
    secret = _derived(our_key.exchange(ec.ECDH(), browser), auth, info, 32)
    key = _derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(secret, salt, b"Content-Encoding: nonce\0", 12)
    header = salt + _RECORD_SIZE.to_bytes(4, "big") + bytes([len(ours)]) + ours
    return header + AESGCM(key).encrypt(nonce, text + _LAST_RECORD, None)


def is_browsers_key(value: bytes) -> bool:
    """Whether these bytes are a key that messages can be encrypted for: a point of P-256."""
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), value)
    except ValueError:
        return False
    return True


def encoded_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as 65 bytes: X9.62, uncompressed."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
