"""Another domain, for Inception: the records of tiny runs, and the table of synthetic records."""

import pytest

from bn.run.directory import read_lines
from experiments import collected, inception_adaptation
from experiments.inception_adaptation import CHANGES, FORMS, HEADER
from tests.experiments.conftest import cells_of


@pytest.mark.usefixtures("figures")
def test_the_table(ended_run, tmp_path):
    collected.write_provenance(tmp_path / "runs.json", [ended_run("bn_x5", 0, {100: 0.1})])
    rows = [("original", seed, 0.8, 0.8, 0.8) for seed in (0, 1)]
    for name in CHANGES:  # the first costs 40 points in both seeds, the others 40 and none
        rows += [(name, seed, 0.4 if seed == 0 or name == CHANGES[0] else 0.8, 0.7, 0.9) for seed in (0, 1)]
    collected.write_csv(tmp_path / "accuracy.csv", HEADER, rows)
    inception_adaptation.draw(tmp_path, tmp_path)
    cells = cells_of(tmp_path)
    assert cells["original"][3:] == ["-", "-"]
    assert cells["inverted"] == ["40.0 ± 0.0", "70.0 ± 0.0", "90.0 ± 0.0", "+40.0 ± 0.0", "0.75 ± 0.00"]
    assert cells["blurred"][0] == "60.0 ± 254.1"  # 12.706 times half the distance of the seeds
    assert cells["blurred"][3:] == ["+20.0 ± 254.1", "-"]


@pytest.mark.slow
def test_what_runs_leave(trained, tmp_path):
    overrides = ("experiment=bn_x5", "scale=smoke", "model.width=0.0625", "steps=10", "steps_factor=1")
    more = ("observe=[]", "data.validation=300", "evaluate.population_batches=10")
    runs = [trained(*overrides, *more, f"data.inputs={name}") for name in FORMS]
    inception_adaptation.collect(runs, tmp_path)
    found = inception_adaptation.adaptation.read(tmp_path)
    assert tuple(found) == FORMS
    own = 100 * read_lines(runs[0].path / "metrics.jsonl")[-1]["validation/accuracy_population"]
    original = found["original"]
    assert original.old == original.new == original.trained == [pytest.approx(own)]
    assert found["inverted"].old != original.old
