"""The store: versioned, immutable segments, content-addressed lists and one ordered log.

Reading order: ``root`` (atomic files) - ``canonical`` (digests) - ``rows``, ``segments``, ``parts`` (values) -
``lists``, ``blobs`` (content-addressed) - ``manifest``, ``log``, ``store`` (versions) - ``alive``, ``references``,
``retire``, ``gc``, ``verify``, ``diff``, ``compact`` (what is done with them) - ``s3``.
"""

from diptych.storage.blobs import Blobs
from diptych.storage.lists import Lists
from diptych.storage.log import CommitEntry, Log, RetireEntry, TagEntry
from diptych.storage.manifest import FitEntry, Manifest, StageEntry, manifest_digests
from diptych.storage.part_reader import PartReader
from diptych.storage.parts import Part, assemble, groups, make_part, read_chunk, stage_totals, write_chunk
from diptych.storage.root import LocalRoot, Root, open_root
from diptych.storage.rows import ROWS_SCHEMA, Counts
from diptych.storage.segment_reader import Segment, read_segment
from diptych.storage.segments import FileRef, SegmentRef, SegmentWriter, WrittenSegment, find_segments
from diptych.storage.store import Store, datasets, open_store

__all__ = [
    "ROWS_SCHEMA",
    "Blobs",
    "CommitEntry",
    "Counts",
    "FileRef",
    "FitEntry",
    "Lists",
    "LocalRoot",
    "Log",
    "Manifest",
    "Part",
    "PartReader",
    "RetireEntry",
    "Root",
    "Segment",
    "SegmentRef",
    "SegmentWriter",
    "StageEntry",
    "Store",
    "TagEntry",
    "WrittenSegment",
    "assemble",
    "datasets",
    "find_segments",
    "groups",
    "make_part",
    "manifest_digests",
    "open_root",
    "open_store",
    "read_chunk",
    "read_segment",
    "stage_totals",
    "write_chunk",
]
