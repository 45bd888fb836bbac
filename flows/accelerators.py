"""How many tasks may be on an accelerator at once: a limit of the server, because workers and runs share the device.

Prefect takes a limit that is not there for no limit, and says nothing. So a flow whose tasks wait for it makes it.
"""

from __future__ import annotations

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from tasks.policies import ACCELERATOR

__all__ = ["LIMIT", "ensure_limit", "set_limit"]

LIMIT = f"tag:{ACCELERATOR}"
"""Its name on the server; the pages of the UI show it under Concurrency."""


def set_limit(client: SyncPrefectClient, accelerators: int | None) -> None:
    """So many tasks at once from now on; None: as it is, and one where there is no limit."""
    if not _made(client, accelerators or 1) and accelerators is not None:
        client.update_global_concurrency_limit(LIMIT, GlobalConcurrencyLimitUpdate(limit=accelerators))


def ensure_limit() -> None:
    """Make the limit, of one task at a time, where nobody has; one that is there stays as it is."""
    with get_client(sync_client=True) as client:
        if _made(client, 1):
            get_run_logger().warning(
                "the server had no limit %s: it was made, one task at a time; `diptych deploy --accelerators N` "
                "changes it",
                LIMIT,
            )


def _made(client: SyncPrefectClient, accelerators: int) -> bool:
    """Make the limit if it is not there; whether it was made now, and by us."""
    try:
        client.read_global_concurrency_limit_by_name(LIMIT)
    except ObjectNotFound:
        try:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=accelerators))
        except ObjectAlreadyExists:  # since a moment ago
            return False
        return True
    return False
