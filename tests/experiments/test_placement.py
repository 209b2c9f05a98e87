"""The place of BN: the records of tiny runs, and the verdicts on synthetic records."""

import itertools

import numpy as np
import pytest

from bn.run.directory import read_lines
from experiments import collected, placement
from experiments.verdicts import RULES

SEEDS = (0, 1, 2)
SIGMOIDS = [(place, "sigmoid", rate) for place in ("before", "after", "input") for rate in (0.1, 0.5, 2.0)]
OTHERS = [
    ("none", "sigmoid", 0.5),
    *((place, "relu", 0.1) for place in ("none", "before", "after", "input")),
]  # fmt: skip
NETWORKS = [*SIGMOIDS, *OTHERS]
NOISE = (0.01, 0.0, -0.01)  # of the seeds


@pytest.fixture
def records(tmp_path):
    """Records with the seeds' values from `moved(network, layer)` and `shape(network, layer, where)`."""

    def write(moved, shape, best="0.5"):
        rows, movements, shapes = [], [], []
        for network, seed in itertools.product(NETWORKS, SEEDS):
            who = (*network, seed)
            rows.append((*who, "done", 0.9 + (f"{network[2]:g}" == best) * 0.05, 0.9))
            for layer in (1, 2, 3):
                amount = moved(network, layer) + NOISE[seed]
                movements.append((*who, layer, amount, amount / 2))
                for where in placement.WHERE:
                    value = shape(network, layer, where) * (1 + NOISE[seed])
                    shapes.append((*who, layer, where, value, value, value))
        names = ("place", "nonlinearity", "lr", "seed")
        folder = tmp_path / "placement"
        collected.write_csv(
            folder / "final.csv", (*names, "state", "validation_accuracy", "test_accuracy"), rows
        )
        collected.write_csv(folder / "movement.csv", (*names, "layer", "absolute", "in_spreads"), movements)
        collected.write_csv(folder / "shapes.csv", (*names, "layer", "where", *placement.MEASURES), shapes)
        return tmp_path

    return write


def still(network, layer):
    return 1.0


def alike(network, layer, where):
    return 0.02


def test_movement():
    path = np.array([[[0.0, 1], [1, 1], [2, 2]], [[1.0, 1], [2, 1], [4, 3]]])  # (T, percentiles, units)
    absolute, in_spreads = placement.movement(path)
    moved = [(1 + 1 + 2) / 3, (0 + 0 + 1) / 3]
    assert absolute == pytest.approx(np.mean(moved))
    assert in_spreads == pytest.approx(np.mean([moved[0] / 2.5, moved[1] / 1.5]))


@pytest.mark.parametrize(
    ("moved", "verdict"),
    [
        (lambda network, layer: 2.0 if network[0] == "input" else 1.0, "confirmed"),
        (lambda network, layer: 1.002 if network[0] == "input" else 1.0, "partly"),
        (lambda network, layer: 2.0 if network[0] == "before" else 1.0, "not confirmed"),
        # at the same rate alone, and not each at its best
        (lambda network, layer: 2.0 if network == ("input", "sigmoid", 0.5) else 1.0, "not confirmed"),
    ],
)
def test_claim_29(records, moved, verdict):
    results = records(moved, alike, best="2" if verdict == "not confirmed" else "0.5")
    if verdict == "partly":  # a difference that the seeds do not agree on
        path = results / "placement" / "movement.csv"
        rows = collected.read_csv(path)
        for row in rows:
            if row["place"] == "input" and row["seed"] == "1":
                row["absolute"] = row["in_spreads"] = "0.999"
            if row["place"] == "input" and row["seed"] == "2":
                row["absolute"] = row["in_spreads"] = "1.05"
        collected.write_csv(path, tuple(rows[0]), [tuple(row.values()) for row in rows])
    assert RULES[29](results).verdict == verdict


@pytest.mark.parametrize(
    ("smaller", "verdict"),
    [
        (lambda network, layer: True, "confirmed"),
        (lambda network, layer: network[1] == "relu" or layer == 2, "partly"),
        (lambda network, layer: network[1] == "relu" and layer == 2, "not confirmed"),
    ],
)
def test_claim_30(records, smaller, verdict):
    def shape(network, layer, where):
        return 0.1 if where == "affine" and smaller(network, layer) else 0.2

    judged = RULES[30](records(still, shape))
    assert judged.verdict == verdict
    assert "of 24 comparisons" in judged.result


@pytest.mark.parametrize(("after", "verdict"), [(0.5, "confirmed"), (0.1, "not confirmed")])
def test_claim_73(records, after, verdict):
    def shape(network, layer, where):
        return after if network[0] == "after" else 0.3

    assert RULES[73](records(still, shape)).verdict == verdict


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [((0.01, 0.04), "confirmed"), ((0.01, 0.06), "partly"), ((0.06, 0.06), "not confirmed")],
)
def test_claim_74(records, shares, verdict):
    def shape(network, layer, where):
        return dict(zip(("before", "none"), shares, strict=True)).get(network[0], 0.9)

    assert RULES[74](records(still, shape)).verdict == verdict


@pytest.mark.parametrize(
    ("more_in", "verdict"), [((1, 2, 3), "confirmed"), ((3,), "partly"), ((1, 2), "not confirmed")]
)
def test_claim_75(records, more_in, verdict):
    def moved(network, layer):
        return 2.0 if network[0] == "after" and layer in more_in else 1.0

    assert RULES[75](records(moved, alike)).verdict == verdict


@pytest.mark.slow
def test_what_runs_leave(trained, tmp_path):
    overrides = ("observe=[percentiles,shapes]", "data.validation=10000", "steps=40", "model.hidden=[20,20]")
    runs = [
        trained("experiment=mnist_bn", "model.norm_place=after", *overrides),
        trained("experiment=mnist_baseline", *overrides),
    ]
    placement.collect(runs, tmp_path / "placement")
    accuracies = placement.read_accuracies(tmp_path / "placement")
    assert set(accuracies) == {("after", "sigmoid", 0.1), ("none", "sigmoid", 0.1)}
    last = read_lines(runs[0].path / "metrics.jsonl")[-1]
    assert accuracies["after", "sigmoid", 0.1] == (
        [last["validation/accuracy_population"]], [last["test/accuracy_population"]],
    )  # fmt: skip
    shapes = placement.read_shapes(tmp_path / "placement")["after", "sigmoid", 0.1]
    assert set(shapes) == set(itertools.product((1, 2), placement.WHERE))
    found = shapes[2, "output"].skewness[0]
    assert found == pytest.approx(last["observe/skewness/layer2/output"], rel=1e-4)
    moved = placement.read_movements(tmp_path / "placement")["none", "sigmoid", 0.1]
    path = collected.observed(runs[1])["layer2"]
    assert moved[2].absolute[0] == pytest.approx(placement.movement(path)[0], rel=1e-4)
