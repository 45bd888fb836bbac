"""Images a second: the crawler beside img2dataset, on one machine, one local server and the same pictures, in one run.

``python benchmarks/crawl.py --img2dataset VENV/bin/python [--images 6000] [--rounds 2] [--memory]``

It needs nginx (Debian: ``apt-get install nginx-light``), which is asked through the loopback interface and takes well
under a tenth of the processor, and img2dataset in an environment of its own:
``python -m venv VENV && VENV/bin/pip install img2dataset``.

Here a figure is images / (seconds of ``diptych crawl`` for all images - seconds for one): interpreters' start does not
count, everything else does: robots.txt, SHA-256, exact duplicates, a record and a document for each row, the log, the
flush to the disk. There it is what img2dataset says of itself ("total ... images per sec", its start not counted), with
its SHA-256 and tar files. The best of the rounds is taken for each.

Beside each rate stands the processor time of an image (user and system, all processes of the tool, its start taken off,
and nginx's share): what bounds a rate on a machine that has nothing else to do, and the figure to compare on one that
has. The machine's limits are measured in the same run: ``bare_requests.py`` (fetch, SHA-256, write and nothing else)
and the rate at which one core decodes and hashes. With ``--memory`` instead: the most memory that 2,000 and 50,000
images take.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from diptych.imaging import decode
from diptych.stages.perceptual import phash

RECIPE = """
name: bench
contact: bench@example.org
sources: [{{kind: urls, name: u, path: {path}, fetch: {{allow_private: true, per_host: 64}}}}]
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
OURS, WITH_HASHES = "diptych", "diptych with perceptual hashes"
BARE = "requests alone: fetch, SHA-256, write"
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


@dataclass(frozen=True)
class Server:
    """nginx while it runs."""

    url: str
    workers: tuple[int, ...]

    def cpu(self) -> float:
        """Processor seconds of its workers so far."""
        ticks = 0
        for pid in self.workers:
            ticks += sum(int(n) for n in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(place: Path) -> Iterator[Server]:
    """nginx over ``place``/www."""
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
        workers = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        yield Server(f"http://127.0.0.1:{port}", tuple(int(pid) for pid in workers))
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


@dataclass(frozen=True)
class Run:
    """A command that succeeded: its seconds, processor seconds with its children and the server's share, output."""

    seconds: float
    cpu: float
    output: str


def timed(command: list[str], server: Server) -> Run:
    """Run a command that must succeed."""
    os.sync()  # what earlier runs wrote is not this one's to wait for
    served_before, start = server.cpu(), time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{' '.join(command)}\n{output[-2000:]}")
    return Run(seconds, used.ru_utime + used.ru_stime + server.cpu() - served_before, output)


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


def a_core(folder: Path, work: Callable[[bytes], object]) -> float:
    """How many of the pictures one core does a second (of its own time)."""
    data = [path.read_bytes() for path in sorted(folder.iterdir())[:200]]
    work(data[0])
    start = time.process_time()
    for item in data:
        work(item)
    return len(data) / (time.process_time() - start)


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
    with served(place) as server:
        for count in (2000, 50_000):
            most, seconds = peak(our_command(lists(place, server.url, count), place / f"root{count}"))
            print(f"{count:>6} images: at most {most:.0f} MB (all processes), {seconds:.1f} s", flush=True)


def speed(place: Path, python: str, count: int, rounds: int) -> None:
    """The table."""
    www = place / "www" / "p"
    size = pictures(www, count)
    whole, scaled = a_core(www, decode), a_core(www, lambda data: decode(data, at_least=ENOUGH))
    hashing = a_core(www, lambda data: phash(decode(data, at_least=ENOUGH)))
    print(
        f"{count} JPEGs of {size / 1000:.0f} kB, 640x480. One core decodes {whole:.0f}/s of them whole, {scaled:.0f}/s"
    )
    print(
        f"scaled down, and decodes and hashes {hashing:.0f}/s: {1000 / hashing:.2f} ms of processor an image",
        flush=True,
    )
    rates: dict[str, float] = {}
    costs: dict[str, float] = {}

    def note(name: str, rate: float, cpu: float) -> None:
        rates[name] = max(rates.get(name, 0.0), rate)
        costs[name] = min(costs.get(name, 1e9), 1000 * cpu / count)
        print(f"  {name}: {rate:.0f} images/s, {1000 * cpu / count:.2f} ms of processor an image", flush=True)

    with served(place) as server:
        all_of_them, one = lists(place, server.url, count), lists(place, server.url, 1)
        for number in range(rounds):
            root = place / f"root-{number}"
            begun = timed(our_command(one, place / f"one-{number}"), server)
            run = timed(our_command(all_of_them, root), server)
            seconds, cpu = run.seconds - begun.seconds, run.cpu - begun.cpu
            note(OURS, count / seconds, cpu)
            more = hashed(root / "bench" / "raw" / "blobs", count)
            note(WITH_HASHES, count / (seconds + more), cpu + count / hashing)
            bare = [sys.executable, str(Path(__file__).parent / "bare_requests.py"), str(place / f"{count}.txt")]
            begun = timed([*bare[:2], str(place / "1.txt"), tempfile.mkdtemp(dir=place)], server)
            run = timed([*bare, tempfile.mkdtemp(dir=place)], server)
            note(BARE, float(run.output.split()[-2]), run.cpu - begun.cpu)
            for name, options in THEIRS.items() if python else ():
                begun = timed(their_command(python, place, 1, options), server)
                run = timed(their_command(python, place, count, options), server)
                found = re.findall(r"^total .*success: 1.000.*images per sec: (\d+) - count: (\d+)", run.output, re.M)
                assert found and int(found[-1][1]) == count, run.output[-2000:]
                note(f"img2dataset, {name}", float(found[-1][0]), run.cpu - begun.cpu)
    print(f"to the limit of requests ({BARE}): {rates[OURS] / rates[BARE]:.0%} of its images/s, ", end="")
    print(f"{costs[OURS] / costs[BARE]:.0%} of its processor time")
    for name in THEIRS if python else ():
        theirs, cost = rates[f"img2dataset, {name}"], costs[f"img2dataset, {name}"]
        print(
            f"to img2dataset, {name}: {rates[OURS] / theirs:.2f} x, with hashes {rates[WITH_HASHES] / theirs:.2f} x; ",
            end="",
        )
        print(f"by processor time {cost / costs[OURS]:.2f} x, with hashes {cost / costs[WITH_HASHES]:.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--img2dataset", default="", help="the python of an environment that has it")
    parser.add_argument("--images", type=int, default=6000)
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
