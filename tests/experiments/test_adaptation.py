"""Another domain: the records of tiny runs, and the verdicts on synthetic records."""

import pytest

from bn.run.directory import read_lines
from experiments import adaptation, collected
from experiments.verdicts import RULES


@pytest.mark.parametrize(
    ("recovers", "verdict"),
    [
        (("inverted", "blurred", "noisy"), "confirmed"),
        (("inverted", "low_contrast"), "partly"),
        (("low_contrast",), "not confirmed"),
    ],
)
def test_claim_77(tmp_path, recovers, verdict):
    rows = [("binary", seed, 0.9 + seed / 100, 0.9, 0.9) for seed in (0, 1)]
    for name in adaptation.CHANGES:
        new = 0.8 if name in recovers else 0.4
        rows += [(name, seed, 0.3 + seed / 100, new + seed / 100, 0.9) for seed in (0, 1)]
    collected.write_csv(tmp_path / "adaptation" / "accuracy.csv", adaptation.HEADER, rows)
    found = adaptation.read(tmp_path / "adaptation")
    share = adaptation.recovered(found[recovers[0]], found["binary"])
    assert share == [pytest.approx(0.5 / 0.6)] * 2
    assert RULES[77](tmp_path).verdict == verdict


@pytest.mark.slow
def test_what_runs_leave(trained, tmp_path):
    overrides = ("observe=[]", "steps=60", "optim.lr=1")
    runs = [
        trained("experiment=mnist_bn", f"data.inputs={name}", *overrides)
        for name in (adaptation.ORIGINAL, *adaptation.CHANGES)
    ]
    adaptation.collect(runs, tmp_path)
    found = adaptation.read(tmp_path)
    assert list(found) == [adaptation.ORIGINAL, *adaptation.CHANGES]
    own = 100 * read_lines(runs[0].path / "metrics.jsonl")[-1]["test/accuracy_population"]
    original = found[adaptation.ORIGINAL]
    assert original.old == original.new == original.trained == [pytest.approx(own)]
    # An affine change of all pixels alike is taken out by the statistics, but for eps and rounding.
    assert found["low_contrast"].new == [pytest.approx(own, abs=0.2)]
    assert found["low_contrast"].old[0] < own - 1
    assert found["inverted"].trained[0] > found["inverted"].new[0]
