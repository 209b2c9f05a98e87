"""Profiles training steps with torch.profiler: a table of the most expensive operations, and a trace."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from bn.config.combinations import UNPROFILED
from bn.files import write_atomically
from bn.run.directory import RunDirectory

WARMUP = 5  # steps in which the profiler already runs, before those that count
MOST = 15  # operations in the table
TABLE, TRACE = "profile.txt", "trace.json"


@contextmanager
def profiled(run: RunDirectory, steps: int, device: torch.device) -> Iterator[Callable[[], None]]:
    """Profile `steps` steps (0: none). Yields a function to call after each step.

    After the last one, print the table and write it to profile.txt, and write the trace to trace.json.
    """
    if steps == 0:
        yield lambda: None
        return
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # suppress the library's own output
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (device.type == "cuda")]

    def write(found: profile) -> None:
        lines = "\n".join(table(found, steps))
        write_atomically(run.path / TABLE, f"{lines}\n")
        with tempfile.TemporaryDirectory() as folder:  # torch does not write it atomically
            trace = Path(folder) / TRACE
            found.export_chrome_trace(str(trace))
            write_atomically(run.path / TRACE, trace.read_bytes())
        print(f"{lines}\ntrace: {run.name}/{TRACE} (chrome://tracing or ui.perfetto.dev)", flush=True)

    plan = schedule(wait=UNPROFILED - WARMUP, warmup=WARMUP, active=steps, repeat=1)
    with profile(activities=activities, schedule=plan, on_trace_ready=write) as profiler:
        yield profiler.step


def table(found: profile, steps: int) -> list[str]:
    """List the operations with the largest own time, excluding those they call, in ms per step."""
    events = found.key_averages()
    on_gpu = any(event.self_device_time_total for event in events)

    def own_time(event) -> float:
        return event.self_device_time_total if on_gpu else event.self_cpu_time_total

    rows = [event for event in events if not event.key.startswith("ProfilerStep")]
    total = sum(map(own_time, rows)) or 1.0
    where = "GPU" if on_gpu else "CPU"
    lines = [f"{'ms a step':>9}  {'share':>6}  {'calls a step':>12}  operation, on the {where}"]
    for event in sorted(rows, key=own_time, reverse=True)[:MOST]:
        share, calls = own_time(event) / total, event.count / steps
        lines.append(f"{own_time(event) / 1000 / steps:9.4f}  {share:6.1%}  {calls:12.1f}  {event.key[:46]}")
    lines.append(f"{total / 1000 / steps:9.4f}  {1:6.1%}  {'':12}  all operations, over {steps} steps")
    return lines
