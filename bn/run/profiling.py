"""torch.profiler over some steps of a training: a table of the most expensive operations, and a trace."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from bn.config.combinations import UNPROFILED
from bn.files import write_whole
from bn.run.directory import RunDirectory

WARMUP = 5  # steps before those that count, in which the profiler runs already
MOST = 15  # operations in the table
TABLE, TRACE = "profile.txt", "trace.json"


@contextmanager
def profiled(run: RunDirectory, steps: int, device: torch.device) -> Iterator[Callable[[], None]]:
    """Profile `steps` steps, 0: none. The block calls what it is given after each step.

    Once they are over, the table is printed and written to profile.txt, and the trace to trace.json.
    """
    if steps == 0:
        yield lambda: None
        return
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiling library prints lines of its own
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (device.type == "cuda")]

    order = f"self_{'cpu' if device.type == 'cpu' else 'device'}_time_total"

    def write(found: profile) -> None:
        table = found.key_averages().table(sort_by=order, row_limit=MOST)
        write_whole(run.path / TABLE, table)
        with tempfile.TemporaryDirectory() as folder:  # torch writes it piece by piece
            trace = Path(folder) / TRACE
            found.export_chrome_trace(str(trace))
            write_whole(run.path / TRACE, trace.read_bytes())
        print(f"{table}trace: {run.name}/{TRACE} (chrome://tracing or ui.perfetto.dev)", flush=True)

    plan = schedule(wait=UNPROFILED - WARMUP, warmup=WARMUP, active=steps, repeat=1)
    with profile(activities=activities, schedule=plan, on_trace_ready=write) as profiler:
        yield profiler.step
