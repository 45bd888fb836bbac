"""What the five models learn on sample documents, cell by cell: `python -m diptych.study` (`make results`)."""
