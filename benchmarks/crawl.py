"""Images a second: the crawler beside img2dataset, on one machine, one local server and the same pictures, in one run.

``python benchmarks/crawl.py --img2dataset VENV/bin/python [--images 4000] [--rounds 2] [--memory]``

It needs nginx (Debian: ``apt-get install nginx-light``), which is asked through the loopback interface and takes well
under a tenth of the processor, and img2dataset in an environment of its own:
``python -m venv VENV && VENV/bin/pip install img2dataset``.

Here a figure is images / (seconds of ``diptych crawl`` for all images - seconds for one): interpreters' start does not
count, everything else does: robots.txt, SHA-256, exact duplicates, a record and a document for each row, the log, the
flush to the disk. There it is what img2dataset says of itself ("total ... images per sec", its start not counted), with
its SHA-256 and tar files. The best of the rounds is taken for each. With ``--memory`` instead: the most memory that
2,000 and 50,000 images take.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from diptych.imaging import decode
from diptych.stages.perceptual import phash

RECIPE = """
name: bench
contact: bench@example.org
sources: [{{kind: urls, name: u, path: {path}, fetch: {{allow_private: true, per_host: 32}}}}]
stages: {{clean: {{}}}}
"""
NGINX = """
worker_processes 1; daemon off; pid {place}/pid; error_log {place}/error;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ image/jpeg jpg; }}
  client_body_temp_path {place}/t; proxy_temp_path {place}/t; fastcgi_temp_path {place}/t; uwsgi_temp_path {place}/t;
  scgi_temp_path {place}/t;
  server {{ listen 127.0.0.1:{port} backlog=1024; root {place}/www; }} }}
"""
THEIRS = {
    "resize to 256 (border)": ["--image_size=256", "--resize_mode=border"],
    "resize_mode=no": ["--resize_mode=no"],
    "resize_mode=no, no check of the picture (disable_all_reencoding)": [
        "--resize_mode=no",
        "--disable_all_reencoding=True",
    ],
}
ENOUGH = 128
"""Pixels a side that a perceptual hash needs; the decoder may scale down to no less."""


def pictures(folder: Path, count: int, width: int = 640, height: int = 480) -> float:
    """``count`` different JPEG files (forty scenes, each file with bytes of its own at the end); their mean size."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    scenes = []
    for _ in range(40):
        coarse = Image.fromarray(rng.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        grainy = np.clip(smooth + rng.normal(0, 9, smooth.shape), 0, 255).astype(np.uint8)
        data = io.BytesIO()
        Image.fromarray(grainy).save(data, "JPEG", quality=75)
        scenes.append(data.getvalue())
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(scenes[number % len(scenes)] + b"%08d" % number)
    return float(np.mean([len(scene) for scene in scenes]))


@contextmanager
def served(place: Path) -> Iterator[str]:
    """nginx over ``place``/www; yields its address."""
    nginx = shutil.which("nginx", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")
    if nginx is None:
        sys.exit("this benchmark needs nginx: apt-get install nginx-light")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (place / "nginx.conf").write_text(NGINX.format(place=place, port=port))
    (place / "www" / "robots.txt").write_text("User-agent: *\nDisallow: /private/\n")
    place.chmod(0o755)
    server = subprocess.Popen([nginx, "-c", str(place / "nginx.conf"), "-p", str(place)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def lists(place: Path, url: str, count: int) -> Path:
    """The addresses for both tools; the recipe's path."""
    addresses = [f"{url}/p/{n}.jpg" for n in range(count)]
    (place / f"{count}.txt").write_text("\n".join(addresses) + "\n")
    (place / f"{count}.csv").write_text("url,caption\n" + "".join(f"{a},picture {a}\n" for a in addresses))
    recipe = place / f"{count}.yaml"
    recipe.write_text(RECIPE.format(path=place / f"{count}.csv"))
    return recipe


def timed(command: list[str]) -> tuple[float, str]:
    """Seconds and output of a command that must succeed."""
    os.sync()  # what earlier runs wrote is not this one's to wait for
    start = time.perf_counter()
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seconds = time.perf_counter() - start
    if run.returncode:
        sys.exit(f"{' '.join(command)}\n{run.stdout[-2000:]}")
    return seconds, run.stdout


def our_command(recipe: Path, root: Path) -> list[str]:
    return [sys.executable, "-m", "diptych.cli", "crawl", str(recipe), "--root", str(root)]


def their_command(python: str, place: Path, count: int, options: list[str]) -> list[str]:
    out = Path(tempfile.mkdtemp(dir=place))
    both = ["--processes_count=2", "--thread_count=32", "--output_format=webdataset", "--number_sample_per_shard=500"]
    command = [str(Path(python).parent / "img2dataset"), f"--url_list={place / f'{count}.txt'}"]
    return [*command, f"--output_folder={out}", *both, *options]


def hash_file(path: str) -> str:
    """What the crawl does not do itself: the decoder and the perceptual hash."""
    return phash(decode(Path(path).read_bytes(), at_least=ENOUGH))


def hashed(folder: Path, count: int) -> float:
    """Seconds for the hashes of all stored pictures with a process a core."""
    files = [str(path) for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 4096]
    assert len(files) == count, (len(files), count)
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        pool.map(hash_file, files[:8])
        start = time.perf_counter()
        pool.map(hash_file, files, chunksize=32)
        return time.perf_counter() - start


def decoding(folder: Path) -> float:
    """JPEGs a second that one core decodes whole: what bounds every tool that looks at pictures."""
    data = [path.read_bytes() for path in sorted(folder.iterdir())[:200]]
    start = time.perf_counter()
    for item in data:
        decode(item)
    return len(data) / (time.perf_counter() - start)


def tree_memory(pid: int) -> float:
    """Megabytes that a process and its children have to themselves (proportional set size)."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    members = {pid}
    for _ in range(3):
        members |= {child for child, parent in parents.items() if parent in members}
    total = 0
    for member in members:
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1000


def peak(command: list[str]) -> tuple[float, float]:
    """The most memory of a command with its children, in megabytes, and its seconds."""
    start, most = time.perf_counter(), 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, tree_memory(process.pid))
            time.sleep(0.2)
    assert process.returncode == 0, command
    return most, time.perf_counter() - start


def memory(place: Path) -> None:
    """Peak memory at 2,000 and 50,000 small pictures."""
    pictures(place / "www" / "p", 50_000, 160, 120)
    with served(place) as url:
        for count in (2000, 50_000):
            most, seconds = peak(our_command(lists(place, url, count), place / f"root{count}"))
            print(f"{count:>6} images: at most {most:.0f} MB (all processes), {seconds:.1f} s", flush=True)


def speed(place: Path, python: str, count: int, rounds: int) -> None:
    """The table."""
    size = pictures(place / "www" / "p", count)
    core = decoding(place / "www" / "p")
    print(f"{count} JPEGs of {size / 1000:.0f} kB, 640x480; one core decodes {core:.0f}/s of them whole", flush=True)
    best: dict[str, float] = {}

    def note(name: str, rate: float) -> None:
        best[name] = max(best.get(name, 0.0), rate)
        print(f"  {name}: {rate:.0f} images/s", flush=True)

    with served(place) as url:
        all_of_them, one = lists(place, url, count), lists(place, url, 1)
        for number in range(rounds):
            root = place / f"root-{number}"
            start = timed(our_command(one, place / f"one-{number}"))[0]
            seconds = timed(our_command(all_of_them, root))[0] - start
            note("diptych", count / seconds)
            note("diptych with perceptual hashes", count / (seconds + hashed(root / "bench" / "raw" / "blobs", count)))
            if python:
                for name, options in THEIRS.items():
                    said = timed(their_command(python, place, count, options))[1]
                    rates = re.findall(r"^total .*success: 1.000.*images per sec: (\d+) - count: (\d+)", said, re.M)
                    assert rates and int(rates[-1][1]) == count, said[-2000:]
                    note(f"img2dataset, {name}", float(rates[-1][0]))
    for name in THEIRS if python else ():
        theirs = best[f"img2dataset, {name}"]
        with_hash = best["diptych with perceptual hashes"] / theirs
        print(f"to img2dataset, {name}: {best['diptych'] / theirs:.2f} x; with perceptual hashes {with_hash:.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--img2dataset", default="", help="the python of an environment that has it")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="measure memory instead of speed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.memory:
            memory(Path(folder))
        else:
            speed(Path(folder), given.img2dataset, given.images, given.rounds)


if __name__ == "__main__":
    main()
