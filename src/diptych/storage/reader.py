"""Reading a version for training.

Reading order: ``reader_fields`` (names resolved) - ``reader_join`` (which rows, and what they read) - ``reader_spool``,
``reader_producers``, ``reader_index`` (one pass at opening) - ``reader_values``, ``reader_records`` (random access) -
``reader_order``, ``reader_loader`` (the stream) - ``collate`` (padding and masks).
"""

from diptych.storage.reader_loader import Loader
from diptych.storage.reader_records import Records, Sample

__all__ = ["Loader", "Records", "Sample"]
