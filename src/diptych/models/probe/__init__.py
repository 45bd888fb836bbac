"""A linear probe: how much of a label a linear function of stored features knows."""

from diptych.models.probe.probe import ProbeConfig, ProbeReport, fit_probe

__all__ = ["ProbeConfig", "ProbeReport", "fit_probe"]
