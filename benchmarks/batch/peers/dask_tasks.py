"""What does Dask itself take? ``python dask_tasks.py WORKERS THREADS`` prints seconds, as JSON.

``start`` of a LocalCluster, until it has answered; ``task`` of each task that does nothing, where many are asked for;
``byte`` of each byte that goes to a worker, or comes from one, over this machine's loopback and past the scheduler.
"""

import json
import sys
import time

from distributed import Client, LocalCluster

TASKS = 2000
PAYLOADS, PAYLOAD = 60, 4 * 1024**2  # how many, and of how many bytes


def same(value):
    """Do nothing."""
    return value


def spread(client, values):
    """Send values to the workers and take them back, a few at a time; give the seconds."""
    before, waiting = time.perf_counter(), []
    for value in values:
        there = client.scatter(value, direct=True, hash=False)
        waiting.append(client.submit(same, there, pure=False))
        if len(waiting) > 4:
            waiting.pop(0).result()
    for future in waiting:
        future.result()
    return time.perf_counter() - before


def main(workers, threads):
    """Measure."""
    settings = {"n_workers": int(workers), "threads_per_worker": int(threads), "memory_limit": 0}
    before = time.perf_counter()
    with (
        LocalCluster(host="127.0.0.1", dashboard_address=":0", **settings) as cluster,
        Client(cluster, direct_to_workers=True) as client,
    ):
        client.submit(same, 0).result()
        start = time.perf_counter() - before
        client.gather(client.map(same, range(TASKS), pure=False))
        before = time.perf_counter()
        client.gather(client.map(same, range(TASKS), pure=False))
        task = (time.perf_counter() - before) / TASKS
        values = [bytes([number % 256]) * PAYLOAD for number in range(PAYLOADS)]
        few = spread(client, range(PAYLOADS))
        byte = max(0.0, spread(client, values) - few) / (2 * PAYLOADS * PAYLOAD)
    print(json.dumps({"start": start, "task": task, "byte": byte}))


if __name__ == "__main__":
    main(*sys.argv[1:])
