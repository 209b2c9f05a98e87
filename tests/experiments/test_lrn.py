"""The table of local response normalization, from synthetic runs."""

import pytest

from bn.errors import UserError
from experiments import ablation, lrn
from experiments.verdicts.judged import RULES
from tests.experiments.conftest import cells_of

EARLY = {100: 0.2, 200: 0.4}
WITHOUT = {"model.lrn": False}


def test_the_table_and_the_verdict_say_what_the_runs_say(ended_run, tmp_path):
    base = [ended_run("inception", seed, {**EARLY, 300: 0.6 + seed / 100}) for seed in (0, 1, 2)]
    whole = [ended_run("bn_x5", seed, {**EARLY, 300: 0.7}, population=0.7) for seed in (0, 1, 2)]
    with_lrn = [
        ended_run(
            "bn_x5", seed, {**EARLY, 300: 0.7}, population=0.7 + (seed - 1) / 100, changes={"model.lrn": True}
        )
        for seed in (0, 1, 2)
    ]
    ablation.collect([*base, *whole, *with_lrn], tmp_path / "ablation")
    without = [
        ended_run("inception", seed, {**EARLY, 300: 0.5 + seed / 100}, changes=WITHOUT) for seed in (0, 1, 2)
    ]
    with pytest.raises(UserError, match=r"^inception without lrn: none of its runs has ended$"):
        lrn.collect(base, tmp_path / "lrn")
    lrn.collect([*base, *without], tmp_path / "lrn")
    lrn.draw(tmp_path / "lrn", tmp_path)
    rows, lines = cells_of(tmp_path), (tmp_path / "table.md").read_text().splitlines()
    # Three values one point apart: 4.303 * 1 / sqrt(3).
    assert rows["Inception"] == ["61.00 ± 2.48", "51.00 ± 2.48", "+10.00 ± 0.00", "3"]
    assert rows["BN-x5"] == ["70.00 ± 2.48", "70.00 ± 0.00", "+0.00 ± 2.48", "3"]
    assert "The numbers of Inception come from 6 runs on made up, with torch " in lines[-1]
    judged = RULES[57](tmp_path)
    assert judged.verdict == "confirmed"
    assert judged.result == "LRN gains: in Inception +10.00 ± 0.00 points, in BN-x5 +0.00 ± 2.48 points"
