"""A version as other tools read it: ``write_export`` in four formats, with a card, Croissant metadata and licences.

``rows`` gives the accepted records one after the other, ``redact`` and ``strip`` take names and addresses out of them,
``target`` makes the folder appear whole or not at all; each format is one module with a ``Writer``.
"""

from diptych.export.write import FORMATS, ExportOptions, ExportReport, write_export

__all__ = ["FORMATS", "ExportOptions", "ExportReport", "write_export"]
