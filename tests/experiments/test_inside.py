"""Records of observations inside runs, and the experiments drawn from them; synthetic numbers that can be
checked by hand."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from bn.run.directory import read_lines
from experiments import collected, covariate_shift, jacobians, observations, saturation, weight_growth
from experiments.drawing import differences, make
from experiments.observations import NETWORKS, by_seed
from tests.experiments.conftest import cells_of, verdict

OBSERVED = "observe=[weight_norms,saturation]"
SEEDS = (0, 1)
LAYERS = (1, 2, 3)


@pytest.fixture
def runs(undisturbed):
    return [
        undisturbed(f"experiment={name}", f"seed={seed}", OBSERVED) for name in NETWORKS for seed in SEEDS
    ]


def test_the_record_has_what_the_runs_observed(runs, tmp_path):
    observations.write(tmp_path / "record.csv", runs, ("weight_norm", "saturated"))
    rows = observations.read(tmp_path / "record.csv")
    last = read_lines(runs[3].path / "metrics.jsonl")[-1]
    (found,) = [row for row in rows if row[:5] == ("mnist_bn", 0.1, 1, 120, 3)]
    assert found.numbers == {
        "weight_norm": float(f"{last['observe/weight_norm/layer3']:.5g}"),
        "saturated": float(f"{last['observe/saturated/layer3']:.5g}"),
    }
    steps = {row.step for row in rows}
    assert steps == {0, 20, 30, 40, 60, 80, 100, 120}
    assert {row.step for row in rows if "saturated" in row.numbers} == {0, 30, 60, 120}
    assert len(rows) == len(runs) * len(steps) * len(LAYERS)

    observations.write(tmp_path / "fewer.csv", runs, ("weight_norm",), every=60)
    assert {row.step for row in observations.read(tmp_path / "fewer.csv")} == {0, 60, 120}


def test_numbers_are_taken_seed_by_seed():
    rows = [
        observations.Row("mnist_bn", 0.1, seed, step, 1, {"x": 10.0 * seed + step})
        for step in (0, 4)
        for seed in (1, 0)
    ]
    assert by_seed(rows, "x", step=4) == [4, 14]
    assert by_seed(rows, "x", step=(0, 4)) == [2, 12]
    assert by_seed(rows, "x", max) == [4, 14]
    steps, values = observations.path(rows, "x", network="mnist_bn")
    assert (steps, values.tolist()) == ([0, 4], [[0, 4], [10, 14]])
    with pytest.raises(ValueError, match=r"x: no row with {'step': 5}"):
        by_seed(rows, "x", step=5)


def test_collecting_needs_all_runs(runs, planned, tmp_path):
    for experiment in (covariate_shift, saturation, jacobians, weight_growth):
        with pytest.raises(collected.UserError, match="seed_7: absent, not finished"):
            experiment.collect([*runs, planned("experiment=mnist_bn", "seed=7")], tmp_path)


GONE = ("experiment=mnist_bn", "seed=9", OBSERVED)


@pytest.fixture
def archived(runs, undisturbed, planned, tmp_path):
    """Four runs in the record of saturation; the directory of the last one is gone."""
    saturation.collect([*runs[:3], undisturbed(*GONE)], tmp_path)
    return [*runs[:3], planned(*GONE)]


def test_the_record_of_a_run_stays_when_its_directory_is_gone(archived, tmp_path):
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert set(before) == {"saturation.csv", "runs.json"}
    assert b"mnist_bn,0.1,9,120,3," in before["saturation.csv"]
    saturation.collect(archived, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_run_is_added_to_the_record_in_the_planned_order(archived, runs, tmp_path):
    saturation.collect([*archived[:3], runs[3], archived[3]], tmp_path)
    rows = observations.read(tmp_path / "saturation.csv")
    seeds = [row.seed for row in rows if row[:1] == ("mnist_bn",) and row[3:5] == (120, 3)]
    assert seeds == [0, 1, 9]
    entries = collected.read_entries(tmp_path / "runs.json")
    assert [entry["config"]["seed"] for entry in entries] == [0, 1, 0, 1, 9]


def test_a_record_that_lost_a_run_is_refused(archived, tmp_path):
    rows = (tmp_path / "saturation.csv").read_text().splitlines(keepends=True)
    (tmp_path / "saturation.csv").write_text("".join(row for row in rows if ",9," not in row))
    with pytest.raises(collected.UserError, match=r"saturation.csv: has no row of .*seed_9: restore it"):
        saturation.collect(archived, tmp_path)


@pytest.fixture
def results(tmp_path, runs):
    """`results("saturation", "saturated", number)`: a record of two seeds, and its folder."""

    def make_record(
        name: str, file: str, number: Callable[..., dict[str, float]], steps=jacobians.STEPS, rates=(0.1,)
    ) -> Path:
        folder = tmp_path / name
        rows = [
            (who, number(who[0] == NETWORKS[1], *who[1:]))
            for who in product(NETWORKS, rates, SEEDS, steps, LAYERS)
        ]
        header = (*observations.WHO, *rows[0][1])
        collected.write_csv(folder / file, header, [(*who, *numbers.values()) for who, numbers in rows])
        collected.write_provenance(folder / "runs.json", runs)
        return folder

    return make_record


@pytest.mark.slow
def test_drawing_twice_gives_the_same_bytes(results):
    for name, experiment, file, number, steps in (
        ("saturation", saturation, "saturation.csv", saturated((0.01, 0.02, 0.03)), saturation.EVENLY),
        ("jacobians", jacobians, "jacobians.csv", passed(True), jacobians.STEPS),
        ("weight_growth", weight_growth, "norms.csv", grown(1.0, 0.1), HALVES),
    ):
        folder = results(name, file, number, steps)
        make(name, experiment, folder.parent)
        assert differences(name, experiment, folder.parent) == []


# Saturation


def saturated(layer_means, with_bn=0.001):
    """Shares by layer without BN, a tenth of it more in seed 1, all of it at the last step."""

    def number(bn, _lr, seed, step, layer):
        share = with_bn if bn else layer_means[layer - 1]
        return {"saturated": share * (1 + 0.1 * seed) * (6 if step == saturation.EVENLY[-1] else 0)}

    return number


def test_saturation_is_averaged_over_even_steps(results, figures):
    steps = (0, 100, *saturation.EVENLY[1:])
    folder = results("saturation", "saturation.csv", saturated((0.01, 0.02, 0.03)), steps)
    saturation.draw(folder, folder)
    cells = cells_of(folder)
    assert cells["hidden layer 1, mean over the training"] == ["1.05 ± 0.64", "0.11 ± 0.06", "+0.95 ± 0.57"]
    assert cells["hidden layer 3, at the end"][0] == "18.90 ± 11.44"
    assert cells["hidden layer 3, before training"][0] == "0.00 ± 0.00"


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.01, 0.02, 0.03), "confirmed"),
        ((0.01, 0.04, 0.03), "partly"),
        ((0.03, 0.02, 0.03), "not confirmed"),
    ],
)
def test_claim_4(results, shares, expected):
    def number(bn, lr, seed, step, layer):
        return {"saturated": shares[layer - 1] + 0.0001 * seed * layer}

    folder = results("saturation", "saturation.csv", number, saturation.EVENLY)
    assert verdict(4, folder.parent) == expected


# Jacobians


def passed(bn_nearer, layers=LAYERS, bn_keeps=True):
    """Logarithms of 2 without BN, and of 1 with it in these layers, or of 3; gradients fall 4 or 2 times."""

    def number(bn, _lr, seed, _step, layer):
        log = 2 if not bn else 1 if bn_nearer and layer in layers else 3
        kept = 2 if bn == bn_keeps else 4
        return {
            "jacobian_log": log + 0.01 * seed, "jacobian_p10": 0.5, "jacobian_p50": 1, "jacobian_p90": 2,
            "input_gradient": (1 + 0.01 * seed * layer) / kept ** (3 - layer),
        }  # fmt: skip

    return number


def test_the_table_of_the_jacobians(results, figures):
    folder = results("jacobians", "jacobians.csv", passed(True, (1, 2)))
    jacobians.draw(folder, folder)
    cells = cells_of(folder)
    name = "singular values into hidden layer 2"
    assert cells[name] == ["without BN", *["2.00 ± 0.06"] * 6]
    assert cells[f"{name} with BN"] == ["with BN", *["**1.00 ± 0.06**"] * 6]
    name = "singular values into hidden layer 3"
    assert cells[f"{name} with BN"] == ["with BN", *["*3.00 ± 0.06*"] * 6]
    # log 16 and, in the second seed, log of 16 x 1.03 / 1.01; log 4.
    name = "gradient at the input of hidden layer 1 over that of the last"
    assert cells[name] == ["without BN", *["2.78 ± 0.12"] * 6]
    assert cells[f"{name} with BN"] == ["with BN", *["**1.40 ± 0.12**"] * 6]


@pytest.mark.parametrize(
    ("layers", "expected"), [(LAYERS, "confirmed"), ((2, 3), "partly"), ((2,), "not confirmed")]
)
def test_claim_39(results, layers, expected):
    folder = results("jacobians", "jacobians.csv", passed(True, layers))
    assert verdict(39, folder.parent) == expected


@pytest.mark.parametrize(("keeps", "expected"), [(True, "confirmed"), (False, "not confirmed")])
def test_claim_41(results, keeps, expected):
    folder = results("jacobians", "jacobians.csv", passed(True, bn_keeps=keeps))
    assert verdict(41, folder.parent) == expected


def test_claim_41_in_part(results):
    def number(bn, lr, seed, step, layer):
        return passed(True, bn_keeps=step > 0)(bn, lr, seed, step, layer)

    assert verdict(41, results("jacobians", "jacobians.csv", number).parent) == "partly"


# Weight norms

HALVES = (0, *weight_growth.LATER)


def grown(first, second):
    def number(bn, lr, seed, step, layer):
        times = (1 + first) * (1 + second if step == 50_000 else 1) if step else 1
        return {"weight_norm": 10 * (times if bn else 1) * (1 + 0.01 * seed), "gradient_norm": 0.5}

    return number


def test_the_table_of_the_norms(results, figures):
    folder = results("weight_growth", "norms.csv", grown(1.0, 0.25), HALVES, rates=(0.1, 1.0))
    weight_growth.draw(folder, folder)
    text = (folder / "table.md").read_text()
    assert (
        "| with BN | 1 | 2 | 10.05 ± 0.64 | 25.12 ± 1.59 | 100.0 ± 0.0 | 25.0 ± 0.0 | -25.0 ± 0.0 "
        "| 0.5000 ± 0.0000 | 16.0 ± 0.0 |" in text
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(1.0, 0.09, "confirmed"), (0.0, 0.09, "confirmed"), (1.0, 0.2, "partly"), (0.1, 0.2, "not confirmed")],
)
def test_claim_37(results, first, second, expected):
    def number(bn, lr, seed, step, layer):
        return grown(first + 0.001 * seed, second)(bn, lr, seed, step, layer)

    assert verdict(37, results("weight_growth", "norms.csv", number, HALVES).parent) == expected
