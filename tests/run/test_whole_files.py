"""Files are replaced atomically, however the writing ends, and partial files are removed."""

import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from bn.files import REPOSITORY, atomic_file, open_locked, remove_partial_files, write_atomically
from experiments import drawing
from scripts import make_figures

OLD, NEW = b"old\n" * 10_000, b"new\n" * 12_000
KILLS = 25


@contextmanager
def files_of_at_most(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "file.json"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def alone(path):
    return [other.name for other in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("size", [0, 1, 4096, len(NEW) - 1])
def test_a_size_limit_leaves_the_old_content_and_names_the_file(path, size):
    with files_of_at_most(size), pytest.raises(OSError, match="File too large") as error:
        write_atomically(path, NEW)
    assert error.value.filename == str(path)
    assert path.read_bytes() == OLD
    assert alone(path)
    write_atomically(path, NEW)
    assert path.read_bytes() == NEW


@pytest.mark.parametrize(
    "raised", [OSError(5, "a fault"), ValueError("wrong"), KeyboardInterrupt(), SystemExit(1)]
)
def test_an_exception_leaves_the_old_content(path, raised):
    def write():
        with atomic_file(path) as file:
            file.write(NEW[:1000])
            raise raised

    with pytest.raises(type(raised)):
        write()
    assert path.read_bytes() == OLD
    assert alone(path)


def test_kills_at_any_moment(path):
    """After each kill the content is the old or the new, and the next writer removes the partial file."""
    code = (
        "import sys; from pathlib import Path; from bn.files import write_atomically\n"
        "print(flush=True)\n"
        "while True:\n"
        "    for text in ('old\\n' * 10_000, 'new\\n' * 12_000): write_atomically(Path(sys.argv[1]), text)\n"
    )
    draw, parts = random.Random(0), 0
    for _ in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", code, path], cwd=REPOSITORY, stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(draw.uniform(0, 0.03))
            writer.send_signal(signal.SIGKILL)
        assert path.read_bytes() in (OLD, NEW)
        parts += len(list(path.parent.iterdir())) - 1
        write_atomically(path, OLD)
        assert alone(path)
    assert parts > 0  # otherwise the test shows nothing


def test_the_partial_file_of_a_running_writer_is_kept(path):
    with atomic_file(path) as file:
        file.write(NEW)
        write_atomically(path, b"by another writer")
        remove_partial_files(path.parent)
    assert path.read_bytes() == NEW
    assert alone(path)


def test_other_files_are_kept(path):
    mine = path.with_name("file.json.of.mine")
    download = path.with_name("other.json.0123.part")
    for other in (mine, download):
        other.write_text("mine")
    write_atomically(path, NEW)
    assert mine.exists()
    assert download.exists()


def test_a_locked_file_is_the_one_at_its_path(path):
    with open_locked(path, "r+b"), pytest.raises(BlockingIOError):
        open_locked(path, "r+b")


@pytest.mark.parametrize("share", [0, 0.3, 0.7, 0.99])
def test_a_page_is_not_cut_at_a_limit(tmp_path, monkeypatch, share):
    """make_figures.py reports the error, and leaves the page unchanged."""
    page = tmp_path / "README.md"
    table = "results/figure1/table.md"
    words = "words\n" * 2000
    text = f"{words}<!-- begin {table} -->\nanother table\n<!-- end -->\n{words}"
    page.write_text(text)
    monkeypatch.setattr(make_figures, "PAGES", (page,))
    monkeypatch.setattr(make_figures, "run", lambda name, check: [])
    monkeypatch.setattr(sys, "argv", ["make_figures.py", "figure1"])
    with files_of_at_most(int(share * len(text))), pytest.raises(SystemExit) as stop:
        make_figures.main()
    assert str(stop.value) == f"make_figures.py: {page}: File too large"
    assert page.read_text() == text
    assert alone(page)
    make_figures.main()
    assert (drawing.RESULTS.parent / table).read_text().rstrip() in page.read_text()


IN_PLACE = re.compile(
    r"\.write_(text|bytes)\(|open\((?:[^()]|\([^()]*\))*\"[wx]b?\"|tarfile\.open\([^)]*\"w|shutil\.(copy|move)\("
)
# Writes into private temporary folders, and into logs, which grow.
ALLOWED = {
    "bn/files.py": 1, "scripts/prepared.py": 1, "scripts/gpu_measurements.py": 1,
    "scripts/slurm/cluster_files.py": 5, "scripts/slurm/cluster_daemons.py": 1,
    "benchmarks/loaders.py": 1, "benchmarks/growth.py": 2, "benchmarks/run_directories.py": 5,
}  # fmt: skip


def test_nothing_else_writes_a_file_in_place():
    """Figures are drawn into a folder of their own, and taken from there by experiments/drawing.py."""
    found = Counter()
    for folder in ("bn", "scripts", "benchmarks", "experiments", "hydra_plugins"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            name = str(path.relative_to(REPOSITORY))
            for line in path.read_text().splitlines():
                drawn = folder in ("experiments", "benchmarks") and "(out / " in line
                found[name] += bool(IN_PLACE.search(line)) and not drawn
    assert {name: count for name, count in found.items() if count} == ALLOWED
