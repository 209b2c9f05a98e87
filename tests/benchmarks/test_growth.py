"""The cost of growing work: the measurement of a command, and the table of a growth."""

import sys

import pytest

from benchmarks import growth, start
from benchmarks.processes import used
from experiments import style


def test_a_commands_cost_is_its_own():
    """Includes the memory of the children, but not of the measuring process."""
    ballast = bytearray(200 << 20)
    small_s, small_mb, _ = used([sys.executable, "-S", "-c", "pass"])
    child = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'bytearray(100 << 20)'])"
    _, large_mb, _ = used([sys.executable, "-S", "-c", child])
    busy_s, _, _ = used([sys.executable, "-S", "-c", "sum(range(5_000_000))"])
    assert len(ballast) > 1 << 20
    assert small_mb < 60
    assert 100 < large_mb < 200
    assert busy_s > small_s


def test_a_command_that_fails_ends_the_benchmark():
    with pytest.raises(SystemExit, match="exit code 3"):
        used([sys.executable, "-S", "-c", "import sys; sys.exit(3)"])


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_how_far_from_the_line(power):
    amounts = (1, 2, 4)
    costs = [5 + n**power for n in amounts]
    on_the_line = costs[0] + 3 * (costs[1] - costs[0])
    assert growth.from_the_line(amounts, costs) == pytest.approx(costs[2] / on_the_line)
    assert growth.from_the_line(amounts, [n**power for n in amounts]) == pytest.approx(
        4**power / (1 + 3 * (2**power - 1)), rel=1e-12
    )
    assert (growth.from_the_line(amounts, costs) > 1.001) == (power > 1)


def test_table_and_plot(tmp_path):
    costs = {"amounts": [1, 2, 4], "cpu_s": [1.0, 2.0, 8.0], "mb": [100.0, 110.0, 130.0]}
    document = {
        "found": {work.unit: costs for work in growth.WORK},
        "rounds": 3,
        "device": "a processor",
        "environment": {"torch": "2.0", "time": "2026-01-01T00:00"},
    }
    rows = [line for line in growth.table(document).splitlines() if line.startswith("| 1, 2, 4 ")]
    assert len(rows) == len(growth.WORK)
    assert all("| 1.0, 2.0, 8.0 | 2.00 | 100, 110, 130 | 1.00 |" in row for row in rows)
    with style.applied():
        growth.plot(document, tmp_path / "growth")
    assert (tmp_path / "growth.png").stat().st_size > 10_000


def test_the_table_of_the_start(tmp_path):
    cost = {"cpu_s": 1.234, "mb": 1000.4, "wall_s": 2.5}
    document = {
        "found": dict.fromkeys(start.commands(tmp_path), cost),
        "rounds": 7,
        "device": "a processor",
        "environment": {"torch": "2.0", "time": "2026-01-01T00:00"},
    }
    assert start.table(document).count("| 1.23 | 2.50 | 1,000 |") == 7
