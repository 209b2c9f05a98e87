"""The ledger: it is complete, its tests exist and run, and its rules are applied to synthetic records."""

import re
import shutil
import subprocess
import sys

import pytest

from bn.errors import UserError
from bn.files import REPOSITORY
from experiments import claims, figure2, figure3, verdicts
from experiments.drawing import RESULTS
from experiments.verdicts.judged import clearly_above_one


def test_every_claim_is_there_once_and_says_what_decides():
    found = claims.read_claims()
    assert [claim["number"] for claim in found] == list(range(1, 85))
    for claim in found:
        decides = {"tests", "records", "untestable"} & claim.keys()
        assert len(decides) == 1, claim["number"]
        assert ("confirmed" in claim) == ("records" in claim), claim["number"]
        assert "untestable" in claim or claim["how"]
        unknown = claim.keys() - {
            "number", "section", "claim", "how", "confirmed", "partly", "known", *decides,
        }  # fmt: skip
        assert not unknown, claim["number"]


def test_every_rule_is_of_a_claim_with_records():
    with_records = {claim["number"] for claim in claims.read_claims() if "records" in claim}
    assert verdicts.RULES.keys() <= with_records


def test_the_committed_ledger_has_a_verdict_wherever_there_are_records(tmp_path):
    for claim in claims.read_claims():
        verdict = claims.judge(claim, RESULTS).verdict
        if all((RESULTS / name).exists() for name in claim.get("records", ())):
            assert verdict != claims.OPEN, claim["number"]
        assert verdict in claims.VERDICTS


@pytest.mark.slow
def test_a_rule_reads_no_other_records_than_the_claim_names(tmp_path):
    for claim in claims.read_claims():
        if "records" in claim and claims.judge(claim, RESULTS).verdict != claims.OPEN:
            (results := tmp_path / str(claim["number"])).mkdir()
            for name in claim["records"]:
                (results / name).symlink_to(RESULTS / name)
            assert claims.judge(claim, results) == claims.judge(claim, RESULTS), claim["number"]


@pytest.mark.slow
def test_the_tests_that_prove_a_claim_run_with_all_others():
    """They are collected by default, and nothing in them skips or expects a failure."""
    tests = sorted({test for claim in claims.read_claims() for test in claim.get("tests", ())})
    command = [
        sys.executable, "-m", "pytest", "-n", "0", "--collect-only", "-p", "no:cacheprovider", *tests,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "deselected" not in done.stdout
    collected = {line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line}
    assert collected == set(tests)
    for path in {test.partition("::")[0] for test in tests}:
        source = (REPOSITORY / path).read_text()
        assert not re.search(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)\b", source), path


def test_a_test_that_is_gone_is_named():
    with pytest.raises(UserError, match=r"claim 3: tests/norm/test_algorithm1.py::test_gone: no such test"):
        claims.check_tests({"number": 3, "tests": ["tests/norm/test_algorithm1.py::test_gone"]})
    with pytest.raises(UserError, match=r"claim 4: tests/test_gone.py::test_it: no such test"):
        claims.check_tests({"number": 4, "tests": ["tests/test_gone.py::test_it"]})


def test_without_records_a_claim_is_open(tmp_path):
    claim = next(claim for claim in claims.read_claims() if claim["number"] == 62)
    assert claims.judge(claim, tmp_path).verdict == claims.OPEN


@pytest.mark.parametrize(
    ("steps", "verdict"),  # of BN-Baseline to the level, 60%, which Inception reaches at step 300
    [
        ((100, 100), "confirmed"),
        ((100, 200), "partly"),
        ((200, 200), "not confirmed"),
        ((100, 999), "not confirmed"),  # one never reaches it
    ],
)
def test_a_rule_gives_each_verdict(ended_run, tmp_path, steps, verdict):
    runs = [ended_run("inception", seed, {100: 0.2, 200: 0.4, 300: 0.6}) for seed in (0, 1)]
    for seed, step in enumerate(steps):
        accuracy = {at: 0.7 if at > step else 0.6 if at == step else 0.1 for at in (100, 200, 300)}
        runs.append(ended_run("bn_baseline", seed, accuracy))
    figure2.collect(runs, tmp_path / "figure2")
    figure3.collect(runs, tmp_path / "figure3")
    claim = next(claim for claim in claims.read_claims() if claim["number"] == 62)
    assert claims.judge(claim, tmp_path).verdict == verdict
    shutil.rmtree(tmp_path / "figure3")
    assert claims.judge(claim, tmp_path).verdict == claims.OPEN


def test_clearly():
    assert verdicts.clearly([1.0, 1.1, 0.9]) == 1
    assert verdicts.clearly([-1.0, -1.1, -0.9]) == -1
    assert verdicts.clearly([1.0, -1.1, 0.9]) == 0
    assert clearly_above_one([2.0, 2.1])
    assert not clearly_above_one([2.0, 0.9])
