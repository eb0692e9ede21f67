"""Verifying tokens: two families of keys that cannot be confused, by a clock that is passed in."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from tocsin_kit.clock import SteppedClock
from tocsin_kit.http.serve import HttpServer
from tocsin_kit.rpc.caller import Caller, Scope
from tocsin_kit.rpc.errors import Reason, TocsinError
from tocsin_kit.rpc.tokens import InternalTokens, TokenVerifier, caller_of, mint_dev_token

from .conftest import DEV_KEY, INTERNAL_KEY, START, Keys

CLAIMS: dict[str, Any] = {"sub": "42", "aud": "tocsin", "partner": 7, "scope": "user"}
SOON = int((START + timedelta(hours=1)).timestamp())


def signed(key: Any = DEV_KEY, algorithm: str = "HS256", kid: str | None = None, **changes: Any) -> str:
    """A token of `CLAIMS` with changes; a change to None leaves the claim out."""
    claims = {**CLAIMS, "exp": SOON, **changes}
    present = {claim: value for claim, value in claims.items() if value is not None}
    return jwt.encode(present, key, algorithm, headers={"kid": kid} if kid else None)


async def reason_of(verifier: TokenVerifier, token: str) -> Reason:
    """Why a token is refused."""
    with pytest.raises(TocsinError) as caught:
        await verifier.verify(token)
    return caught.value.reason


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(START)


@pytest.fixture
def verifier(clock: SteppedClock) -> TokenVerifier:
    return TokenVerifier(Keys(), clock)


async def test_a_dev_token_stands_for_its_user(verifier: TokenVerifier) -> None:
    verified = await verifier.verified(
        mint_dev_token(DEV_KEY, subject="42", scopes=[Scope.USER], expires_at=START + timedelta(hours=1), partner_id=7)
    )
    assert verified.caller == Caller("42", 42, 7, frozenset({Scope.USER}))
    assert verified.expires_at == START + timedelta(hours=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e300},
        {"sub": "ann"},  # a user is a number
        {"sub": str(2**63)},
        {"partner": None},
        {"partner": "seven"},
        {"partner": True},
        {"partner": 1.5},
        {"scope": None},
        {"scope": "root"},
        {"scope": "user admin"},  # a partner's or ours
        {"scope": "service internal"},
        {"nbf": SOON - 60},
    ],
    ids=str,
)
async def test_a_token_that_makes_no_sense_is_invalid(verifier: TokenVerifier, changes: dict[str, Any]) -> None:
    assert await reason_of(verifier, signed(**changes)) is Reason.TOKEN_INVALID


async def test_a_token_of_another_key_or_of_no_key_is_invalid(verifier: TokenVerifier) -> None:
    unsigned = jwt.encode({**CLAIMS, "exp": SOON}, "", algorithm="none")
    for token in (signed("another key of more than thirty-two bytes"), unsigned, signed()[:-2], "", "é"):
        assert await reason_of(verifier, token) is Reason.TOKEN_INVALID


async def test_the_user_key_makes_internal_tokens_in_dev(verifier: TokenVerifier) -> None:
    token = signed(sub="me", scope="internal", partner=None)
    assert Scope.INTERNAL in (await verifier.verify(token)).scopes


async def test_the_internal_key_makes_no_user(verifier: TokenVerifier) -> None:
    for changes in ({}, {"aud": "tocsin-internal", "iss": "tocsin-internal"}):
        claims = {**CLAIMS, "exp": SOON, **changes}
        token = jwt.encode(claims, INTERNAL_KEY, "HS256", headers={"typ": "tocsin-internal"})
        assert await reason_of(verifier, token) is Reason.TOKEN_INVALID
    assert await reason_of(verifier, signed(INTERNAL_KEY)) is Reason.TOKEN_INVALID


async def test_an_internal_token_is_renewed_before_it_expires(verifier: TokenVerifier, clock: SteppedClock) -> None:
    tokens = InternalTokens(SecretStr(INTERNAL_KEY), clock, "dispatcher")
    first = tokens.current()
    assert await verifier.verify(first) == Caller("dispatcher", None, None, frozenset({Scope.INTERNAL}))
    clock.advance(timedelta(minutes=3, seconds=59))
    assert tokens.current() == first
    clock.advance(timedelta(seconds=1))
    second = tokens.current()
    assert second != first
    clock.advance(timedelta(minutes=1))
    assert await reason_of(verifier, first) is Reason.TOKEN_EXPIRED
    assert (await verifier.verify(second)).subject == "dispatcher"


async def test_an_internal_token_is_made_anew_when_the_clock_was_set_back(
    verifier: TokenVerifier, clock: SteppedClock
) -> None:
    tokens = InternalTokens(SecretStr(INTERNAL_KEY), clock, "dispatcher")
    first = tokens.current()
    clock.move_to(START - timedelta(days=60))
    assert tokens.current() != first


def test_a_dev_key_in_production_is_refused(clock: SteppedClock) -> None:
    with pytest.raises(ValueError, match="TOCSIN_JWT_SECRET"):
        TokenVerifier(Keys(env="production"), clock)


async def test_a_cached_token_is_as_good_as_a_fresh_one_and_no_better(
    verifier: TokenVerifier, clock: SteppedClock
) -> None:
    token = signed()
    assert await verifier.verify(token) is await verifier.verify(token)
    clock.advance(timedelta(hours=1))
    assert await reason_of(verifier, token) is Reason.TOKEN_EXPIRED
    assert await reason_of(verifier, token) is Reason.TOKEN_EXPIRED


ED = Ed25519PrivateKey.generate()
RSA: RSAPrivateKey = generate_private_key(65537, 2048)


def key_document(**keys: Any) -> str:
    """A JWKS with the public halves of private keys, by their ids."""
    return json.dumps({"keys": [_public(kid, key) for kid, key in keys.items()]})


def _public(kid: str, key: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, RSAPrivateKey) else OKPAlgorithm
    entry: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return {**entry, "kid": kid, "use": "sig", "alg": "RS256" if algorithm is RSAAlgorithm else "EdDSA"}


def write(path: Path, document: str) -> None:
    """Replace a key file."""
    path.write_text(document)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(key_document(ed=ED, rsa=RSA))
    return path


async def test_keys_of_a_file_verify_both_algorithms(clock: SteppedClock, key_file: Path) -> None:
    verifier = TokenVerifier(Keys(env="production", jwt_secret=None, jwks=str(key_file)), clock)
    for token in (signed(ED, "EdDSA", "ed"), signed(RSA, "RS256", "rsa")):
        assert (await verifier.verify(token)).user_id == 42
    for token in (signed(ED, "EdDSA", "rsa"), signed(ED, "EdDSA"), signed(), signed(RSA, "PS256", "rsa")):
        assert await reason_of(verifier, token) is Reason.TOKEN_INVALID


async def test_a_public_key_is_no_shared_secret(clock: SteppedClock, key_file: Path) -> None:
    """RFC 8725, 2.1: an HS256 token made with the public key as its secret."""
    verifier = TokenVerifier(Keys(env="production", jwt_secret=None, jwks=str(key_file)), clock)
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, claims, _ = signed(DEV_KEY, "HS256", "rsa").split(".")
    digest = hmac.digest(public, f"{head}.{claims}".encode(), "sha256")
    forged = f"{head}.{claims}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    assert await reason_of(verifier, forged) is Reason.TOKEN_INVALID


async def test_the_identity_provider_makes_operators_but_no_services(clock: SteppedClock, key_file: Path) -> None:
    verifier = TokenVerifier(Keys(env="production", jwt_secret=None, jwks=str(key_file)), clock)
    operator = signed(ED, "EdDSA", "ed", sub="ann@bank.example", scope="admin", partner=None)
    assert (await verifier.verify(operator)).subject == "ann@bank.example"
    service = signed(ED, "EdDSA", "ed", sub="dispatcher", scope="internal", partner=None)
    assert await reason_of(verifier, service) is Reason.TOKEN_INVALID


async def test_a_new_key_is_looked_for_at_most_once_a_minute(clock: SteppedClock, key_file: Path) -> None:
    write(key_file, key_document(old=ED))
    verifier = TokenVerifier(Keys(env="production", jwt_secret=None, jwks=str(key_file)), clock)
    assert (await verifier.verify(signed(ED, "EdDSA", "old"))).user_id == 42
    write(key_file, key_document(new=RSA))
    rotated = signed(RSA, "RS256", "new")
    assert await reason_of(verifier, rotated) is Reason.TOKEN_INVALID, "within the minute"
    clock.advance(timedelta(minutes=1))
    assert (await verifier.verify(rotated)).user_id == 42
    assert await reason_of(verifier, signed(ED, "EdDSA", "old", sub="43")) is Reason.TOKEN_INVALID, "withdrawn"


@pytest.fixture
async def key_url() -> Any:
    served: dict[str, Any] = {"answer": lambda: JSONResponse(json.loads(key_document(ed=ED))), "asked": 0}

    async def keys(_request: Request) -> Response:
        served["asked"] += 1
        answer: Callable[[], Response] = served["answer"]
        return answer()

    server = HttpServer(Starlette(routes=[Route("/jwks", keys)]), port=0)
    await server.start()
    served["url"] = f"http://127.0.0.1:{server.port}/jwks"
    yield served
    await server.stop(timedelta(seconds=1))


async def test_keys_of_a_url_are_fetched_once_and_kept_when_it_fails(clock: SteppedClock, key_url: Any) -> None:
    verifier = TokenVerifier(Keys(env="production", jwt_secret=None, jwks=key_url["url"]), clock)
    for user in range(5):
        assert (await verifier.verify(signed(ED, "EdDSA", "ed", sub=str(user)))).user_id == user
    assert key_url["asked"] == 1
    key_url["answer"] = lambda: Response("no", status_code=500)
    clock.advance(timedelta(minutes=1))
    with capture_logs() as logged:
        assert await reason_of(verifier, signed(ED, "EdDSA", "other")) is Reason.TOKEN_INVALID
    assert [line["event"] for line in logged] == ["token_keys_unreadable"]
    assert (await verifier.verify(signed(ED, "EdDSA", "ed", sub="9"))).user_id == 9


@pytest.mark.parametrize("body", ["", "[]", '{"keys": 3}', '{"keys": [{"kty": "?"}]}', '{"keys": [3]}'])
async def test_without_any_keys_the_answer_is_unavailable(clock: SteppedClock, key_url: Any, body: str) -> None:
    key_url["answer"] = lambda: Response(body)
    verifier = TokenVerifier(Keys(env="production", jwt_secret=None, jwks=key_url["url"]), clock)
    with capture_logs():
        assert await reason_of(verifier, signed(ED, "EdDSA", "ed")) is Reason.UNAVAILABLE


@given(
    st.dictionaries(
        st.sampled_from(["partner", "scope", "sub"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    )
)
def test_no_claims_are_strange_enough_to_be_a_surprise(claims: dict[str, Any]) -> None:
    reason = None
    try:
        caller_of({"sub": "1", **claims})
    except TocsinError as error:
        reason = error.reason
    assert reason in (None, Reason.TOKEN_INVALID)
