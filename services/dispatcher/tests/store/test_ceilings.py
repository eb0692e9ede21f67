"""How many messages a bank lets its users have: its own ceilings, else the system's."""

from typing import Any, cast

import protovalidate
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from tocsin.notifications.v1 import partner_pb2, preference_pb2
from tocsin_dispatcher.doors.destinations import DestinationRpcs
from tocsin_dispatcher.doors.partner_service import PartnerServicer
from tocsin_dispatcher.doors.preference_service import PreferenceServicer
from tocsin_dispatcher.store.recipients import Defaults
from tocsin_dispatcher.verifying.verifications import Verifications
from tocsin_kit.rpc.caller import Caller, Scope, set_current_caller

from .bench import ADDRESS_KEY, Bench
from .conftest import MakeBench

NO_CONTEXT = cast(Any, None)


async def _set(bench: Bench, settings: partner_pb2.PartnerSettings, *paths: str) -> partner_pb2.PartnerSettings:
    request = partner_pb2.UpdatePartnerSettingsRequest(
        partner_settings=settings, update_mask=FieldMask(paths=paths) if paths else None
    )
    servicer = PartnerServicer(bench.engine, bench.clock, Defaults(10, 50))
    return (await servicer.UpdatePartnerSettings(request, NO_CONTEXT)).partner_settings


async def _shown(bench: Bench, defaults: Defaults) -> tuple[int, int]:
    servicer = PartnerServicer(bench.engine, bench.clock, defaults)
    found = (await servicer.GetPartnerSettings(partner_pb2.GetPartnerSettingsRequest(), NO_CONTEXT)).partner_settings
    return found.max_per_hour, found.max_per_day


async def _chosen(bench: Bench, **limits: int) -> tuple[int, int]:
    """What the user gets who asks for these limits."""
    places, codes = cast(DestinationRpcs, None), cast(Verifications, None)  # nobody asks them
    servicer = PreferenceServicer(bench.engine, bench.clock, Defaults(10, 50), ADDRESS_KEY, places, codes)
    request = preference_pb2.UpdatePreferencesRequest(preferences=preference_pb2.Preferences(**limits))  # type: ignore[arg-type]
    stored = (await servicer.UpdatePreferences(request, NO_CONTEXT)).preferences
    return stored.max_per_hour, stored.max_per_day


async def test_a_user_gets_at_most_the_ceiling_the_banks_own_or_the_systems(benches: MakeBench) -> None:
    bench = await benches()
    set_current_caller(Caller("test", 1, 1, frozenset({Scope.USER})))
    assert await _chosen(bench, max_per_hour=10_000, max_per_day=10_000) == (10, 50), "the bank has said nothing"
    await _set(bench, partner_pb2.PartnerSettings(sms_segments=3))
    assert await _chosen(bench, max_per_hour=10_000, max_per_day=10_000) == (10, 50), "nor about limits"
    await _set(bench, partner_pb2.PartnerSettings(max_per_hour=100, max_per_day=5))
    assert await _chosen(bench, max_per_hour=10_000, max_per_day=10_000) == (100, 5)
    assert await _chosen(bench, max_per_hour=1, max_per_day=2) == (1, 2)


async def test_a_ceiling_the_bank_never_set_follows_the_setting(benches: MakeBench) -> None:
    bench = await benches()
    set_current_caller(Caller("test", None, 1, frozenset({Scope.PARTNER})))
    shown = await _set(
        bench, partner_pb2.PartnerSettings(max_per_day=20, sms_segments=2), "max_per_day", "sms_segments"
    )
    assert (shown.max_per_hour, shown.max_per_day, shown.sms_segments) == (10, 20, 2)
    assert await _shown(bench, Defaults(30, 90)) == (30, 20)
    await _set(bench, partner_pb2.PartnerSettings(), "max_per_day")
    assert await _shown(bench, Defaults(30, 90)) == (30, 90), "one that is unset again is the bank's no longer"


@pytest.mark.parametrize("message", [partner_pb2.PartnerSettings, preference_pb2.Preferences])
@pytest.mark.parametrize("limit", ["max_per_hour", "max_per_day"])
def test_a_limit_of_none_at_all_is_refused(message: type[Message], limit: str) -> None:
    validator = protovalidate.Validator()
    validator.validate(message(**{limit: 1}))
    with pytest.raises(protovalidate.ValidationError):
        validator.validate(message(**{limit: 0}))
