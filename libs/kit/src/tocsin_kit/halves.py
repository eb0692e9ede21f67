"""One bad item must not fail its batch: split in halves down to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


async def in_halves(
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], Awaitable[None]],
    is_data_error: Callable[[Exception], bool],
) -> list[tuple[Item, Exception]]:
    """Do `work` over all `items`, halving a batch that fails for its data; return the items alone at fault.

    `work` does a batch whole or not at all. An error that is not about data is raised at once: halving would
    only repeat it.
    """
    if not items:
        return []
    try:
        await work(items)
    except Exception as error:
        if not is_data_error(error):
            raise
        if len(items) == 1:
            return [(items[0], error)]
    else:
        return []
    middle = len(items) // 2
    first = await in_halves(items[:middle], work, is_data_error)
    return first + await in_halves(items[middle:], work, is_data_error)
