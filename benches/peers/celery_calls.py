"""What benches/src/bin/queue.rs measures of Celery.

`celery_calls.py worker` is the application of `celery worker`; `celery_calls.py measure COUNT SINGLES`
asks it and prints one JSON document: seconds of each call, and of the whole.
The broker and result store are the Redis at the address in REDIS_URL.
"""

import json
import os
import sys
import time

from celery import Celery, group

app = Celery("celery_calls", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True)


@app.task(name="noop")
def noop(n):
    return {"n": n}


def measure(count, singles):
    # The worker answers before anything is measured.
    noop.delay(0).get(timeout=60)
    one_at_a_time = []
    submit = []
    for n in range(singles):
        start = time.perf_counter()
        handle = noop.delay(n)
        submit.append(time.perf_counter() - start)
        handle.get(timeout=60, interval=0.0002)
        one_at_a_time.append(time.perf_counter() - start)
    start = time.perf_counter()
    busy = []
    handles = []
    for n in range(count):
        before = time.perf_counter()
        handles.append(noop.delay(n))
        busy.append(time.perf_counter() - before)
    for handle in handles:
        handle.get(timeout=600)
    whole = time.perf_counter() - start
    json.dump(
        {"submit": submit, "submit_busy": busy, "one_at_a_time": one_at_a_time, "whole": whole},
        sys.stdout,
    )


if __name__ == "__main__":
    measure(int(sys.argv[2]), int(sys.argv[3]))
