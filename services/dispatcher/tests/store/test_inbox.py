"""The inbox: whose it is, its count and its version."""

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store import notifications as inbox
from tocsin_dispatcher.store.database import in_transaction
from tocsin_dispatcher.store.notifications import Filters, Place

from .bench import Bench
from .conftest import MakeBench

ME, NEIGHBOUR, NAMESAKE = UserKey(1, 1), UserKey(1, 2), UserKey(2, 1)


async def _three(bench: Bench) -> list[inbox.InboxNotification]:
    await bench.profile()
    for _ in range(3):
        await bench.intake.take_in([bench.firing()])
    async with bench.engine.connect() as connection:
        return await inbox.list_notifications(connection, ME, Filters(), 50, None)


async def test_nobody_reads_or_changes_anothers_inbox(benches: MakeBench) -> None:
    bench = await benches()
    mine = await _three(bench)
    for stranger in (NEIGHBOUR, NAMESAKE):
        async with bench.engine.begin() as connection:
            assert await inbox.list_notifications(connection, stranger, Filters(), 50, None) == []
            assert await inbox.get_notification(connection, stranger, mine[0].id) is None
            assert await inbox.list_changes(connection, stranger, 0, 50) == []
            assert (await inbox.mark_read(connection, stranger, mine[0].id, bench.clock.now())).count == 0
            assert (await inbox.mark_all_read(connection, stranger, bench.clock.now()))[0].count == 0
            assert (await inbox.delete_notification(connection, stranger, mine[0].id, bench.clock.now())).count == 0
            assert list(await inbox.mark_shown(connection, stranger, [mine[0].id], bench.clock.now())) == []
    async with bench.engine.connect() as connection:
        assert (await inbox.unread_of(connection, ME)) == inbox.Marked(3, 3)


async def test_every_change_raises_the_version_and_is_found_by_it(benches: MakeBench) -> None:
    bench = await benches()
    newest, middle, oldest = await _three(bench)

    async with bench.engine.begin() as connection:
        assert await inbox.mark_read(connection, ME, oldest.id, bench.clock.now()) == inbox.Marked(1, 4)
        assert await inbox.mark_read(connection, ME, oldest.id, bench.clock.now()) == inbox.Marked(0, 4)
        assert await inbox.delete_notification(connection, ME, newest.id, bench.clock.now()) == inbox.Marked(1, 5)
    async with bench.engine.connect() as connection:
        changes = await inbox.list_changes(connection, ME, 3, 50)
        assert [(one.id, one.deleted_at is not None) for one in changes] == [(oldest.id, False), (newest.id, True)]
        assert await inbox.unread_of(connection, ME) == inbox.Marked(1, 5)
    marked, ids = await in_transaction(
        bench.engine, lambda connection: inbox.mark_all_read(connection, ME, bench.clock.now())
    )
    assert (marked, ids) == (inbox.Marked(1, 6), [middle.id])


async def test_pages_go_on_where_the_last_one_ended(benches: MakeBench) -> None:
    bench = await benches()
    everything = await _three(bench)
    async with bench.engine.connect() as connection:
        first = await inbox.list_notifications(connection, ME, Filters(), 2, None)
        place = Place(first[-1].created_at, first[-1].id)
        rest = await inbox.list_notifications(connection, ME, Filters(), 2, place)
        assert [*first, *rest] == everything
        assert len(await inbox.list_notifications(connection, ME, Filters(words="large"), 50, None)) == 3
        assert await inbox.list_notifications(connection, ME, Filters(words="nothing like it"), 50, None) == []
