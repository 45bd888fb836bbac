"""ESIM: does one text say what another says? Scores captions against summaries (HCSCL's choice of images)."""
