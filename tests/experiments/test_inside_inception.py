"""Shift and saturation inside Inception, from synthetic numbers that can be checked by hand."""

import json
from itertools import product

import pytest

from experiments import collected, inside_inception, observations
from experiments.inside_inception import NETWORKS
from tests.experiments.conftest import cells_of

LAYERS = ("conv2", "inception_3b.conv_3x3", "inception_4c.conv_3x3", "inception_5b.conv_3x3")
SEEDS = (0, 1)
RUNS = [
    *product(inside_inception.NONLINEARITIES, NETWORKS, SEEDS),
    *product(("sigmoid",), ("bn_x5_sigmoid",), SEEDS),
]


def numbers(network, layer, step):
    """Without BN everything is twice as much; it doubles from layer to layer, and by step 31."""
    shift = 0.01 * 2 ** (layer - 1) * (2 if network == NETWORKS[0] else 1) * (2 if step == 31 else 1)
    return {"shift": shift, "gradient_shift": 10 * shift, "gradient_cosine": 1 - 2 * shift}


@pytest.fixture
def runs(ended_run):
    """The last line of their metrics.jsonl has the observations."""
    made = []
    for nonlinearity, network, seed in RUNS:
        changes = {"model.nonlinearity": nonlinearity, "probe.layers": list(LAYERS)}
        population = None if network == NETWORKS[0] else 0.5
        run = ended_run(network, seed, {100: 0.1, 200: 0.2, 300: 0.3}, population=population, changes=changes)
        path = run.path / "metrics.jsonl"
        *before, last = path.read_text().splitlines()
        line = json.loads(last) | {
            f"observe/{name}/{layer}": value
            for i, layer in enumerate(LAYERS, start=1)
            for name, value in numbers(network, i, 31).items()
        }
        path.write_text("\n".join([*before, json.dumps(line)]) + "\n")
        run.set_status("done", 300)
        made.append(run)
    return made


def test_the_record_has_each_layer_by_its_place(runs, tmp_path):
    inside_inception.collect(runs, tmp_path)
    for nonlinearity in inside_inception.NONLINEARITIES:
        rows = observations.read(tmp_path / f"{nonlinearity}.csv")
        networks = len(NETWORKS) + (nonlinearity == "sigmoid")
        assert len(rows) == networks * len(SEEDS) * len(LAYERS)
        found = {row[:5]: row.numbers for row in rows}
        assert found["inception", 0.016, 1, 300, 4] == pytest.approx(numbers("inception", 4, 31), rel=1e-4)
    assert inside_inception.read(tmp_path).accuracy == {
        **{("inception", name): [0.3, 0.3] for name in inside_inception.NONLINEARITIES},
        **{("bn_baseline", name): [0.5, 0.5] for name in inside_inception.NONLINEARITIES},
        ("bn_x5_sigmoid", "sigmoid"): [0.5, 0.5],
    }


def test_all_runs_are_needed(runs, tmp_path):
    runs[3].set_status("running", 200)
    with pytest.raises(collected.UserError, match="seed_1: running, not finished"):
        inside_inception.collect(runs, tmp_path)


@pytest.mark.usefixtures("figures")
def test_the_table_is_reckoned_by_hand(runs, tmp_path):
    inside_inception.collect(runs, tmp_path)
    for nonlinearity in inside_inception.NONLINEARITIES:
        rows = []
        for network, seed, (layer, _) in product(NETWORKS, SEEDS, enumerate(LAYERS, start=1)):
            who = (network, 0.016, seed)
            for step in (1, 31):
                rows.append((*who, step, layer, *numbers(network, layer, step).values(), ""))
            for step in (0, 600):
                share = 0.04 if (step, layer, network) == (600, 2, NETWORKS[0]) else 0
                rows.append((*who, step, layer, "", "", "", share))
        for seed, step, (layer, _) in product(SEEDS, (0, 600), enumerate(LAYERS, start=1)):
            share = 0.1 * layer + 0.01 * seed if step else 0.02
            rows.append(("bn_x5_sigmoid", 0.016, seed, step, layer, "", "", "", share))
        header = (*observations.WHO, *inside_inception.OBSERVED)
        collected.write_csv(tmp_path / f"{nonlinearity}.csv", header, rows)
    inside_inception.draw(tmp_path, tmp_path)
    cells = cells_of(tmp_path)
    twice = "2.00 (2.00 to 2.00) times"
    # 2 and 4%, 1 and 2% in the first layer; eight times as much in the last
    assert cells["ReLU: shift, conv2 (%)"] == ["2.83 ± 0.00", "1.41 ± 0.00", twice]
    assert cells["ReLU: shift, 5b, 3x3 (%)"] == ["22.63 ± 0.00", "11.31 ± 0.00", twice]
    assert cells["ReLU: gradient shift, step 31 (%)"] == ["113.14 ± 0.00", "56.57 ± 0.00", twice]
    for kind in ("ReLU", "sigmoid"):
        assert cells[f"{kind}: gradient shift (%)"] == ["80.00 ± 0.00", "40.00 ± 0.00", twice]
        # 1 - 2 x 0.015 (1 + 2 + 4 + 8) / 4 with BN
        assert cells[f"{kind}: cosine of the two gradients"] == [
            "0.7750 ± 0.0000", "0.8875 ± 0.0000", "-0.1125 ± 0.0000",
        ]  # fmt: skip
        assert cells[f"{kind}: accuracy at step 600 (%)"] == ["30.0 ± 0.0", "50.0 ± 0.0", "-20.0 ± 0.0"]
    name = "sigmoid: saturated at step"  # 4% in one of four layers
    assert cells[f"{name} 600 (%)"] == ["1.000 ± 0.000", "0.000 ± 0.000", "+1.000 ± 0.000"]
    assert cells[f"{name} 0 (%)"] == ["0.000 ± 0.000", "0.000 ± 0.000", "+0.000 ± 0.000"]
    cells = cells_of(tmp_path, "saturation.md")
    assert cells["step 0"] == ["0.000 ± 0.000", "0.000 ± 0.000", "2.000 ± 0.000", "+2.000 ± 0.000"]
    # 25 and 26% on average, 12.706 times half a point
    assert cells["step 600"] == ["1.000 ± 0.000", "0.000 ± 0.000", "25.500 ± 6.353", "+24.500 ± 6.353"]
    assert cells["from step 0 to 600"][2:] == ["23.500 ± 6.353", "+22.500 ± 6.353"]
    assert cells["step 600, 5b, 3x3"][2] == "40.500 ± 6.353"
