"""Training on dataset versions.

Reading order: ``task``, ``phase``, ``config`` (what a model says of itself) - ``train``, ``series`` (a run, several
seeds) - ``needs``, ``feed``, ``schedule``, ``loop``, ``ranks``, ``stopping``, ``checkpoint`` (fitting) -
``predicting``, ``evaluation``, ``results``, ``comparison`` (measuring) - ``folder``, ``tracking`` (what is left and
said). ``run`` is the folder of a model that the loop does not fit.
"""

from diptych.training.run import Run, write_run

__all__ = ["Run", "write_run"]
