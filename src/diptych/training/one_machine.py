"""Where the processes of one run on one machine meet."""

from __future__ import annotations

from lightning_fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port

__all__ = ["OneMachine"]


class OneMachine(LightningEnvironment):
    """A port of its own for each run, whatever the variables say.

    Fabric leaves a run's port in ``MASTER_PORT``, where the next run of this process, one beside it and every program
    started from here would find it; and takes a batch system's job for one whose processes that system starts.
    """

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        if self._main_port == -1:  # the processes get this object from the one that starts them
            self._main_port = find_free_network_port()
        return self._main_port
