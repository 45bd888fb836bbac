"""A small news site made from a seed, with the truth about every picture and sentence: for demos, tests and the
results tables.
"""

from __future__ import annotations

from diptych.sample.changes import CHANGES, Change
from diptych.sample.document import Judgement, PageStyle, SampleDocument, SampleImage
from diptych.sample.response import Response
from diptych.sample.server import Counts, Faults, Server, serve
from diptych.sample.site import Site, Trap
from diptych.sample.treebank import treebank
from diptych.sample.truth import Truth, TruthImage, TruthObject, TruthRelation, TruthSentence, TruthText, document_id
from diptych.sample.write import Written, write

__all__ = [
    "CHANGES",
    "Change",
    "Counts",
    "Faults",
    "Judgement",
    "PageStyle",
    "Response",
    "SampleDocument",
    "SampleImage",
    "Server",
    "Site",
    "Trap",
    "Truth",
    "TruthImage",
    "TruthObject",
    "TruthRelation",
    "TruthSentence",
    "TruthText",
    "Written",
    "document_id",
    "serve",
    "treebank",
    "write",
]
