"""Training on dataset versions: what a run leaves behind."""

from diptych.training.run import Run, write_run

__all__ = ["Run", "write_run"]
