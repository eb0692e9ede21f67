"""Each class of firings has an intake of its own: what holds up the periodic ones does not delay a realtime one."""

import asyncio

import nats

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import Timetable
from tests.firings import low_balance

#: Two batches are in hand at once of a class, of 100 firings each: more wait behind them.
FLOOD = 500
WAITING = "SELECT FROM pg_locks WHERE NOT granted"


async def told(day: Timetable, user: int) -> int:
    """How many notifications the user has."""
    query = "SELECT count(*) FROM notifications WHERE user_id = $1"
    return int(await day.databases.of["dispatcher"].fetchval(query, user))


async def test_a_flood_of_periodic_firings_that_cannot_be_taken_in_delays_no_realtime_one(
    timetable: OpenTimetable,
) -> None:
    """Somebody has locked the inbox that all of them are for."""
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(transaction_limit={"amount": "100.00", "currency": "USD"})
        await day.stack.settle()
        database = day.databases.of["dispatcher"]
        await database.execute("INSERT INTO unread (partner_id, user_id, count, version) VALUES (1, 2, 0, 0)")
        day.stack.activity.begun("stream.FIRINGS", FLOOD)
        client = await nats.connect(day.stack.nats_url)
        async with asyncio.timeout(60):
            async with database.transaction():
                await database.execute("SELECT FROM unread WHERE user_id = 2 FOR UPDATE")
                firings = [low_balance(2, day.stack.clock.now()) for _ in range(FLOOD)]
                stream = client.jetstream()
                await asyncio.gather(*(stream.publish("tocsin.firings.periodic", firing) for firing in firings))
                while not await database.fetch(WAITING):
                    pass
                purchase = {"transactions": [day.purchase("250.00", posted_at="2025-11-03T15:00:00Z").item]}
                await day.must("POST", "/api/v2/ingest/transactions", purchase, day.stack.service_token(1))
                while not await told(day, 1):
                    pass
                assert await told(day, 2) == 0
            await client.close()
            while await told(day, 2) < FLOOD:
                pass
        day.forgive()
