"""What a version looks like: counts (:func:`statistics`) and one page that needs no network (:func:`write_report`)."""

from diptych.report.page import write_report
from diptych.report.stats import Statistics, statistics

__all__ = ["Statistics", "statistics", "write_report"]
