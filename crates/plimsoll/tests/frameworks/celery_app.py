"""A Celery worker as its users write it: two processes that take tasks from Redis."""

import os
import time

from celery import Celery

app = Celery("tasks", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])


@app.task
def work(gate: str) -> str:
    print("task began", flush=True)
    while not os.path.exists(gate):
        time.sleep(0.02)
    print("task ended", flush=True)
    return "done"
