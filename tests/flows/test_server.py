"""The server of ``diptych serve`` on SQLite: no transaction is refused because another one wrote."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import OperationalError

from flows.server import lock_first


async def read_then_write_twice(place: Path) -> int:
    """Two transactions at once that read, give way, then write what they read plus one; what stands there then."""
    config = AioSqliteConfiguration(f"sqlite+aiosqlite:///{place}", timeout=20)
    engine = await config.engine()
    async with engine.begin() as made:
        await made.execute(sa.text("create table counted (n integer)"))
        await made.execute(sa.text("insert into counted values (0)"))

    async def add() -> None:
        async with await config.session(engine) as session, config.begin_transaction(session):
            found = (await session.execute(sa.text("select n from counted"))).scalar_one()
            await asyncio.sleep(0.2)
            await session.execute(sa.text("update counted set n = :n"), {"n": found + 1})

    try:
        await asyncio.gather(add(), add())
        async with await config.session(engine) as session:
            return (await session.execute(sa.text("select n from counted"))).scalar_one()
    finally:
        await engine.dispose()


def test_transactions_that_read_first_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperationalError, match="database is locked"):  # once this passes, flows/server.py can go
        asyncio.run(read_then_write_twice(tmp_path / "theirs.db"))
    monkeypatch.setattr(AioSqliteConfiguration, "begin_transaction", AioSqliteConfiguration.begin_transaction)
    lock_first()
    assert asyncio.run(read_then_write_twice(tmp_path / "ours.db")) == 2
