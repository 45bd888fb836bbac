"""Prefect's server as ``diptych serve`` starts it: on SQLite a transaction takes the lock for writing when it begins.

Prefect begins most transactions without it. One that reads first and writes later, after somebody else has written, is
refused at once (SQLITE_BUSY_SNAPSHOT: no time-out applies): the UI's Submit then says "Oops. Something went wrong" and
no run is made, and an event of an automation is lost. Workers ask again, people and automations do not.
On Postgres nothing changes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from prefect.server.database.configurations import AioSqliteConfiguration

__all__ = ["lock_first", "main"]


def lock_first() -> None:
    """Every transaction on SQLite begins as those do that Prefect marks ``with_for_update``."""
    begin = AioSqliteConfiguration.begin_transaction

    @asynccontextmanager
    async def begin_transaction(
        self: AioSqliteConfiguration, session: Any, with_for_update: bool = True
    ) -> AsyncGenerator[Any, None]:
        async with begin(self, session, with_for_update=True) as transaction:
            yield transaction

    AioSqliteConfiguration.begin_transaction = begin_transaction  # type: ignore[method-assign]


def main() -> None:
    """``prefect`` with the arguments of this process, as ``server start --port 4200``."""
    from prefect.cli import app

    lock_first()
    app()


if __name__ == "__main__":
    main()
