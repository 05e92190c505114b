"""The service under load: how long its answers take while a job runs.

    python -m bench.service [--clients 8] [--requests 400] [--model htdemucs]

Starts the real service, submits one long job, and while that runs lets parallel clients submit recordings,
look at jobs and health, download a stem and watch its events. Prints requests per second, the median and the
99th percentile of each kind, how late events are, and how much the process grows by an upload of 500 MB.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import httpx2 as httpx
import numpy as np
import psutil

from tests.audio_files import music, write_wav
from tests.service import Service, ended, submit


def measured(
    name: str,
    clients: int,
    requests: int,
    ask: Callable[[httpx.Client, int], httpx.Response],
    service: Service,
) -> None:
    """Let clients ask in parallel, and print how long it took them."""
    times: list[float] = []
    local = threading.local()

    def one(number: int) -> None:
        if not hasattr(local, "client"):
            local.client = service.client()
        start = time.perf_counter()
        answer = ask(local.client, number)
        times.append(time.perf_counter() - start)
        answer.raise_for_status()

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(requests)))
    rate = requests / (time.perf_counter() - start)
    p50, p99 = (1000 * float(np.percentile(times, q)) for q in (50, 99))
    print(f"{name:<22} {rate:8.1f} a second   p50 {p50:8.1f} ms   p99 {p99:8.1f} ms")


def events_late(service: Service, job_id: str, listeners: int, events: int) -> None:
    """Let clients watch a job that runs, and print how long after they were written they get its events."""

    def watch(_: int) -> list[float]:
        late = []
        with service.client() as client, client.stream("GET", f"/jobs/{job_id}/events") as answer:
            opened = time.time()
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    at = datetime.fromisoformat(json.loads(line[5:])["at"]).timestamp()
                    if at > opened:  # What is older was waiting for us.
                        late.append(time.time() - at)
                if len(late) == events:
                    break
        return late

    with ThreadPoolExecutor(listeners) as pool:
        times = [seconds for late in pool.map(watch, range(listeners)) for seconds in late]
    p50, p99 = (1000 * float(np.percentile(times, q)) for q in (50, 99))
    name = f"events, {listeners} listeners"
    print(f"{name:<22} {len(times):8} events     p50 {p50:8.1f} ms   p99 {p99:8.1f} ms")


def growth_mb(service: Service, upload: Path) -> float:
    """How many MB the service's process grows at most while a recording is uploaded."""
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    before, peak, done = process.memory_info().rss, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with service.client() as client:
        submit(client, upload, formats="mp3", estimators="none").raise_for_status()
    done.set()
    watcher.join()
    return (peak - before) / 1e6


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--model", default="htdemucs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        short = [write_wav(Path(folder, f"{n}.wav"), music(0.5, seed=n)) for n in range(args.requests // 8)]
        long = write_wav(Path(folder, "long.wav"), music(240.0))
        large = write_wav(Path(folder, "large.wav"), np.tile(music(60.0), 31), subtype="PCM_24")
        with Service(Path(folder), PIPELINE_MAX_QUEUED="10000") as service, service.client() as client:
            done = submit(client, write_wav(Path(folder, "done.wav"), music(30.0))).json()["id"]
            ended(client, done)
            running = submit(client, long, model=args.model).json()["id"]
            while client.get(f"/jobs/{running}").json()["stage"] != "separate":
                time.sleep(0.1)
            load = args.clients, args.requests
            print(f"{args.clients} clients, while a 240 s recording is separated with {args.model}:")
            measured("GET /health", *load, lambda c, _: c.get("/health"), service)
            measured("GET /jobs/{id}", *load, lambda c, _: c.get(f"/jobs/{running}"), service)
            measured("GET /jobs", *load, lambda c, _: c.get("/jobs"), service)
            measured(
                "GET a stem (4 MB)",
                args.clients,
                80,
                lambda c, _: c.get(f"/jobs/{done}/stems/drums"),
                service,
            )
            events_late(service, running, 50, 4)
            measured("POST /process", args.clients, len(short), lambda c, n: submit(c, short[n]), service)
            size = large.stat().st_size / 1e6
            print(f"upload of {size:.0f} MB: the process grows by {growth_mb(service, large):.0f} MB")
            client.post(f"/jobs/{running}/cancel")


if __name__ == "__main__":
    main()
