"""How a contestant is told what to do: a line of JSON for a task, and one for what came of it."""

import json
import sys
import time
from collections.abc import Callable

Task = Callable[..., int]
"""Takes `count` and further options; returns how many pieces were really done."""


def serve(tasks: dict[str, Task]) -> None:
    for line in sys.stdin:
        options = json.loads(line)
        task = tasks[options.pop("task")]
        wall, cpu = time.perf_counter(), time.process_time()
        done = task(**options)
        took = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "done": done}
        print(json.dumps(took), flush=True)
