"""Books a household's lines on an account: numbers them and follows the balance."""

from collections.abc import Iterable
from decimal import Decimal
from zoneinfo import ZoneInfo

from tocsin_devstack.purchases import Line
from tocsin_devstack.scenario import Account, Transaction, TransactionStatus


def booked(account: Account, time_zone: str, lines: Iterable[Line], first_id: int) -> list[Transaction]:
    """The lines as the bank posts them, in order of time.

    Lines with one key get one id. Only posted and reversed lines move the balance: a pending one has none after it.
    """
    ids: dict[str, int] = {}
    balance = account.balance
    result = []
    for line in sorted(lines, key=lambda line: line.at):
        number = ids.setdefault(line.key, first_id + len(ids))
        settles = ids[line.settles] if line.settles else None
        balance += _moves(line)
        result.append(
            Transaction(
                id=number,
                user_id=account.user_id,
                account_id=account.id,
                amount=line.amount,
                currency=account.currency,
                merchant=line.merchant,
                description=f"{line.merchant.upper()} {number}",
                category=line.category,
                posted_on=line.at.astimezone(ZoneInfo(time_zone)).date(),
                posted_at=line.at,
                status=line.status,
                balance_after=None if line.status is TransactionStatus.PENDING else balance,
                source=f"transaction {number}",
                settles=settles,
                pending_transaction_id=settles if line.names_pending else None,
                is_estimate=line.is_estimate,
            )
        )
    return result


def _moves(line: Line) -> Decimal:
    match line.status:
        case TransactionStatus.PENDING:
            return Decimal(0)
        case TransactionStatus.POSTED:
            return line.amount
        case TransactionStatus.REVERSED:
            return -line.amount
