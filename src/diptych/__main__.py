"""The entry of ``diptych``: Control-C during the seconds of loading ends it with one line, too."""

from __future__ import annotations

import os
import signal
from types import FrameType

__all__ = ["main"]


def _leave(number: int, frame: FrameType | None) -> None:
    """Nothing has begun: there is nothing to clean up, and no import that could swallow an exception."""
    os.write(2, b"diptych: interrupted; nothing had begun\n")
    os._exit(130)


def main() -> None:
    """Load the command line and run it."""
    before = signal.signal(signal.SIGINT, _leave)
    from diptych.cli import main as run

    signal.signal(signal.SIGINT, before)
    run()


if __name__ == "__main__":
    main()
