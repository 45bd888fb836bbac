"""Write constraints.txt: the versions that pip resolves for every extra, and nothing else (`make constraints`).

Resolves from nothing, without installing: what stands in constraints.txt now does not hold it back, except for
requirement files given as arguments (`python .ci/constraints.py -c keep.txt`).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "all,dev"
HEADER = """\
# The lock: versions that pip resolved together, for every extra ([{extras}]), Python {python}, Linux.
# Versions only: no addresses, no paths. Used with: pip install -c constraints.txt -e '.[demo,dev]'
# Refresh:  make constraints && make test && make demo      then read the diff and commit it.
# torch and torchvision are the plain index's CUDA builds; they also run on a machine without a GPU.
"""


def resolve(arguments: list[str]) -> dict[str, str]:
    """Return name -> version of everything the extras need, as pip resolves it."""
    subprocess.run([sys.executable, "-m", "pip", "install", "-qq", "pip>=25"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-qq"]
        subprocess.run([*command, "--report", str(report), *arguments, f"{ROOT}[{EXTRAS}]"], check=True)
        entries = json.loads(report.read_text(encoding="utf-8"))["install"]
    pins = {re.sub(r"[-_.]+", "-", e["metadata"]["name"]).lower(): e["metadata"]["version"] for e in entries}
    del pins["diptych"]
    return pins


def main() -> None:
    """Write the file and say how many pins it has."""
    pins = resolve(sys.argv[1:])
    # A local version label (1.0+cpu) is one machine's build; the public version is what others can install.
    lines = [f"{name}=={version.split('+')[0]}\n" for name, version in sorted(pins.items())]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    path = ROOT / "constraints.txt"
    path.write_text(HEADER.format(extras=EXTRAS, python=python) + "".join(lines), encoding="utf-8")
    print(f"constraints.txt: {len(lines)} versions")


if __name__ == "__main__":
    main()
