"""The least a crawl in Python can do with requests: fetch, SHA-256, write. What ``benchmarks/crawl.py`` measures us by.

``python benchmarks/bare_requests.py LIST FOLDER``: a process a core, 32 threads in all, a session a process. No
robots.txt, no host limits, no checks of the peer or the body, no log, no retries, nothing flushed.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter

THREADS = 32


def worker(urls: list[str], folder: str, threads: int, started: Barrier) -> None:
    """Fetch the addresses with some threads."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=threads))
    waiting, lock = iter(urls), threading.Lock()

    def loop() -> None:
        while True:
            with lock:
                url = next(waiting, None)
            if url is None:
                return
            answer = session.get(url, timeout=20)
            answer.raise_for_status()
            name = hashlib.sha256(answer.content).hexdigest()
            with open(f"{folder}/{name[:2]}/{name}", "wb") as file:
                file.write(answer.content)

    pool = [threading.Thread(target=loop) for _ in range(threads)]
    started.wait()
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()


def main() -> None:
    urls, folder = Path(sys.argv[1]).read_text().split(), sys.argv[2]
    for number in range(256):
        os.makedirs(f"{folder}/{number:02x}", exist_ok=True)
    count = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    started = context.Barrier(count + 1)
    workers = [
        context.Process(target=worker, args=(urls[n::count], folder, -(-THREADS // count), started))
        for n in range(count)
    ]
    for process in workers:
        process.start()
    started.wait()
    start = time.perf_counter()
    for process in workers:
        process.join()
    assert all(process.exitcode == 0 for process in workers)
    print(f"{len(urls) / (time.perf_counter() - start):.1f} images/s")


if __name__ == "__main__":
    main()
