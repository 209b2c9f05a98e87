"""The hours of runs, summed from synthetic records."""

import json

from benchmarks import run_hours


def entry(command, wall_s, device="cpu", **more):
    return {
        "command": command, "state": "done", "step": 1, "commit": "abc", "time": "today", "torch": "2",
        "wall_s": wall_s, "device": {"type": device, "name": "made up"}, "config": {}, **more,
    }  # fmt: skip


def record(path, *entries):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"config": {}, "runs": list(entries)}))


def test_a_run_counts_once_and_one_without_a_time_is_told(tmp_path):
    shared = entry("a", 3600)
    record(tmp_path / "figure2" / "runs.json", shared, entry("b", 1800, "cuda"))
    record(tmp_path / "figure3" / "runs.json", shared)
    record(tmp_path / "batch_size" / "runs.json", shared, entry("c", None), entry("a", 36, time="later"))
    record(tmp_path / "batch_size" / "further_seeds_runs.json", entry("d", 360))
    (tmp_path / "run_hours").mkdir()
    run_hours.draw(tmp_path / "run_hours", tmp_path)
    lines = [line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith("|")]
    assert lines[2:] == [
        "| `figure2` | 2 | 0 | 1.00 | 0.50 | - |",
        "| `figure3` | 1 | 1 | - | - | - |",
        "| `batch_size` | 4 | 1 | 0.11 | - | 1 |",
        "| **all** | 5 | | 1.11 | 0.50 | 1 |",
    ]
