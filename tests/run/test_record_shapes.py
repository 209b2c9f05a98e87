"""Records of an unexpected shape give one line that names the file, or count as missing.

The shapes are generated: unrelated values, and each valid record with keys removed, values replaced, and
bytes cut and flipped.
"""

import json
import os
import random
import shutil

import pytest
import yaml

from bn.compare import columns
from bn.errors import UserError
from bn.evaluate.records import read_record as read_evaluation
from bn.evaluate.records import summary
from bn.files import MAX_BYTES, parse_yaml
from bn.run.code_state import CodeState
from bn.run.directory import RunDirectory, read_lines
from bn.run.heartbeat import holder_of
from bn.run.loggers.wandb import _run_id
from bn.run.state import state_of
from bn.run.submission import check_submission, record_job, record_submission, submission
from experiments import collected

RUN = "experiment=mnist_bn"
VALUES = (
    None, True, -1, 17, 1.5, float("nan"), float("inf"), 10**400, "", "x", "\ud800", "two\nlines",
    [], [1], [[]], {}, {"a": 1}, {"state": "done"}, {"state": "done", "step": "1"}, {"job": 1}, {"id": 7},
    {"commit": None}, {"resumed": [1]}, {"steps": {"a": []}}, {"config": 1}, {"step": 10**30},
)  # fmt: skip
TEXTS = (
    b"", b"\0" * 100, b"\xff\xfe", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"- " * 5_000, b"&a [*a]",
    b"&a {a: *a}", b"{? [a] : b}", b"{? {a: b} : c}", b"when: 2026-99-99", b"!!python/object:os.system {}",
    b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]", b"- !!binary x", b"<<: 1", b"a: 0b", b"%YAML 9.9",
    b"9" * 10_000,
    *(json.dumps(value).encode() for value in VALUES),
    *(yaml.safe_dump(value).encode("utf-8", "replace") for value in VALUES if value != "\ud800"),
)  # fmt: skip


def mutants(value):
    """`value` with each key or item left out, and with each of VALUES in its place, at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield {k: v for k, v in value.items() if k != key}
            yield from ({**value, key: other} for other in (*VALUES, *mutants(item)))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield value[:i] + value[i + 1 :]
            yield from ([*value[:i], other, *value[i + 1 :]] for other in (*VALUES, *mutants(item)))


def contents(sound, dump):
    """Generate contents for a file whose valid content is `sound`; `dump` serializes a value."""
    draw = random.Random(0)
    yield from TEXTS
    values = list(mutants(parse_yaml(sound.decode()) if dump is yaml.safe_dump else json.loads(sound)))
    yield from (
        dump(value).encode("utf-8", "surrogatepass") for value in draw.sample(values, min(150, len(values)))
    )
    yield from (sound[: draw.randrange(len(sound))] for _ in range(20))
    for _ in range(50):
        at = draw.randrange(len(sound))
        yield sound[:at] + bytes([sound[at] ^ 1 << draw.randrange(8)]) + sound[at + 1 :]


@pytest.fixture
def run(undisturbed, tmp_path):
    """A copy of an ended run."""
    path = tmp_path / "runs" / "mnist_bn" / "default" / "seed_0"
    shutil.copytree(undisturbed(RUN).path, path)
    return RunDirectory(path, undisturbed(RUN).config)


def only_user_errors(path, *calls):
    """Count the calls that raise; they may raise only a UserError of one line that names the file."""
    raised = []
    for call in calls:
        try:
            call()
        except UserError as error:
            raised.append(str(error))
    for line in raised:
        assert line.isprintable()
        assert len(line) < 2000
        assert path.name in line or "another config" in line or "changed since" in line
    return len(raised)


def listed(run):
    """The run as scripts/runs.py lists it."""
    found = state_of(run.path)
    columns.cells(found, "name")
    assert "\n" not in columns.reason_of(found)
    json.dumps(found._asdict(), default=str).encode()


def test_status(run):
    path = run.path / "status.json"
    count = 0
    for content in contents(path.read_bytes(), json.dumps):
        path.write_bytes(content)
        assert (
            only_user_errors(path, lambda: listed(run), lambda: run.summary().encode(), lambda: run.finished)
            == 0
        )
        only_user_errors(path, lambda: collected.ended([run]))
        count += 1
    assert count > 200


def test_a_run_whose_status_is_damaged_resumes(run, undisturbed, bits, trained, planned):
    goal = planned(RUN)
    shutil.copytree(run.path, goal.path)
    for value in ([1], 17, {"state": "done"}, {"a": 1}):
        (goal.path / "status.json").write_text(json.dumps(value))
        assert not goal.finished
        trained(RUN)
        assert bits(goal) == bits(undisturbed(RUN))


@pytest.mark.slow
def test_environment(run):
    path = run.path / "env.json"
    sound = path.read_bytes()
    refused = 0
    for content in contents(sound, json.dumps):
        path.write_bytes(content)

        def start():
            run.start(120, {"type": "cpu", "name": "a test"})

        before = path.read_bytes()
        raised = only_user_errors(
            path, lambda: collected.write_provenance(run.path / "runs.json", [run]), start
        )
        run.close()
        if raised:
            assert path.read_bytes() == before
        refused += raised > 0
        (run.path / "runs.json").unlink(missing_ok=True)
    assert refused > 100


@pytest.mark.slow
def test_config(run):
    path = run.path / "config.yaml"
    sound = path.read_bytes()
    assert b"&" not in sound
    assert only_user_errors(path, run.check_config) == 0
    for content in (*contents(sound, yaml.safe_dump), b"a: 1\n" * (MAX_BYTES // 5 + 1)):
        path.write_bytes(content)
        only_user_errors(path, run.check_config)
        assert only_user_errors(path, lambda: listed(run)) == 0
    for content in TEXTS:
        path.write_bytes(content)
        assert only_user_errors(path, run.check_config) == 1, content


@pytest.mark.slow
def test_submission(run):
    path = run.path / "submitted.json"
    record_submission(run, CodeState("0" * 40, "a change"))
    record_job(run, "12_3", run.path / "log")
    (run.path / "status.json").unlink()
    for content in contents(path.read_bytes(), json.dumps):
        path.write_bytes(content)
        assert only_user_errors(path, lambda: listed(run)) == 0
        only_user_errors(path, lambda: submission(run), lambda: check_submission(run, "12_3"))


def test_lock(run):
    path = run.path / "lock"
    run.open()
    sound = path.read_bytes()
    run.close()
    for content in (*TEXTS, sound[:-9], sound * 2, b"a\n0 b 0\n", b"a\n999999999 b 0\n", "x\n٣ b ٣".encode()):
        path.write_bytes(content)
        holder_of(path)
        assert only_user_errors(path, lambda: listed(run), run.open) == 0
        second = RunDirectory(run.path, run.config)
        path.write_bytes(content)
        with pytest.raises(UserError, match="in use by") as error:
            second.open()
        assert "\n" not in str(error.value)
        assert str(error.value).isprintable()
        run.close()


def test_rows(run):
    path = run.path / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    for content in (*TEXTS, *(json.dumps(mutant).encode() for row in rows[2:3] for mutant in mutants(row))):
        path.write_bytes(
            json.dumps(rows[0]).encode() + b"\n" + content + b"\n" + json.dumps(rows[-1]).encode() + b"\n"
        )
        assert only_user_errors(path, lambda: listed(run), run.summary) == 0
        only_user_errors(path, lambda: read_lines(path), lambda: collected.ended([run]))


def test_wandbs_id(run):
    path = run.path / "wandb.json"
    for content in contents(b'{"id": "0123"}', json.dumps):
        path.write_bytes(content)
        only_user_errors(path, lambda: _run_id(run))


EVALUATION = {
    "n": 20, "top1_correct": 3, "top5_correct": 9, "not_finite": 0, "crops": 1, "models": 1,
    "statistics": "moving", "precision": "float32", "torch": "2", "time": "now",
    "data": {"name": "smoke", "crop": 32},
    "checkpoints": [{"path": "a", "sha256": "0", "name": "bn_x5", "step": 4}],
}  # fmt: skip


def test_evaluations(tmp_path):
    path = tmp_path / "a__b.json"
    path.write_text(json.dumps(EVALUATION))
    assert "bn_x5 at step 4" in summary(read_evaluation(path) or {}, path)
    for content in contents(path.read_bytes(), json.dumps):
        path.write_bytes(content)

        def read():
            summary(read_evaluation(path) or {}, path)

        only_user_errors(path, read)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to a device", "link to itself"])
@pytest.mark.parametrize("name", ["status.json", "config.yaml", "env.json", "submitted.json", "lock"])
def test_special_files_do_not_block(run, name, kind, tmp_path):
    path = run.path / name
    path.unlink(missing_ok=True)
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link to a device":
            path.symlink_to("/dev/zero")
        case _:
            path.symlink_to(path)
    assert only_user_errors(path, lambda: listed(run)) == 0
    calls = {
        "config.yaml": run.check_config,
        "env.json": lambda: run.start(120, {"type": "cpu", "name": "a test"}),
        "submitted.json": lambda: check_submission(run, "1"),
        "status.json": lambda: collected.ended([run]),
        "lock": run.open,
    }
    assert only_user_errors(path if name != "lock" else run.path, calls[name]) == 1
    run.close()
