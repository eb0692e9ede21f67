"""Which errors pass by themselves: the infrastructure is away, restarting or overloaded."""

from __future__ import annotations

import asyncpg
import nats.errors
import nats.js.errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

#: SQLSTATE where a lock was not to be had within the time that was set for it.
LOCK_NOT_AVAILABLE = "55P03"
#: SQLSTATE: 08 connection, 53 resources, 57P shutdown, 40 serialisation and deadlock, 55P03 lock not available.
_STATES = ("08", "53", "57P", "40001", "40P01", LOCK_NOT_AVAILABLE, "25P03")
_KINDS = (
    ConnectionError,
    TimeoutError,
    OSError,
    PoolTimeoutError,
    asyncpg.InterfaceError,
    nats.errors.Error,
    nats.js.errors.Error,
)


def _root(error: BaseException) -> BaseException:
    """The driver's own error below SQLAlchemy's two wrappers."""
    original = getattr(error, "orig", None)
    if not isinstance(original, BaseException):
        return error
    return original.__cause__ or original


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of a database error, else empty."""
    return str(getattr(_root(error), "sqlstate", "") or "")


def is_data_error(error: BaseException) -> bool:
    """Whether the data is at fault: SQLSTATE class 22 or 23, or a value that Python or the driver refused."""
    return sqlstate(error).startswith(("22", "23")) or isinstance(_root(error), ValueError)


def is_transient(error: BaseException) -> bool:
    """Whether trying the same again later can help."""
    if is_data_error(error):
        return False
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return sqlstate(error).startswith(_STATES) or isinstance(_root(error), _KINDS)
