"""Opening the store's Parquet files that no digest of a list or segment guards: what is damaged says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from diptych.exceptions import Corrupt

if TYPE_CHECKING:
    from diptych.storage.root import Root

__all__ = ["SNAPSHOT_ADVICE", "opened"]

SNAPSHOT_ADVICE = "restore it from a backup: versions built from it cannot be read or checked"


@contextmanager
def opened(home: Root, path: str, advice: str) -> Iterator[pq.ParquetFile]:
    """The file ``path`` below ``home``, its pages' checksums compared as they are read.

    What cannot be read, here or inside the block, is :class:`Corrupt`; ``advice`` says what to do then.
    :class:`NotFound` when there is no such file.
    """
    local = home.local(path)
    try:
        with pq.ParquetFile(local, page_checksum_verification=True) as file:
            yield file
    except MemoryError:
        raise  # Arrow's is an ArrowException, too; the file is whole
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise Corrupt(f"{path} in {home.url} is damaged: {said}; {advice}") from error
