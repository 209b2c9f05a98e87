"""Whitening: the chosen learning rate, the steps, the cost of a layer, and verdicts on synthetic records."""

import json

import numpy as np
import pytest
import torch

from benchmarks.whitening import EPS, inverse_root, measure
from bn.errors import UserError
from experiments import collected, whitening
from experiments.verdicts import RULES
from experiments.whitening import Cost


@pytest.fixture
def records(tmp_path):
    """Records of two learning rates and three seeds, with `steps[inputs]` to the level at the better one."""

    def write(steps):
        folder = tmp_path / "whitening"

        def rows(seeds, rates):
            return [
                (name, rate, seed, "done", worse + taken[seed], worse + taken[seed], 0.9)
                for name, taken in steps.items()
                for rate, worse in rates
                for seed in seeds
            ]

        collected.write_csv(folder / "steps.csv", whitening.HEADER, rows([0], ((0.1, 50), (0.3, 0))))
        collected.write_csv(folder / "further_seeds.csv", whitening.HEADER, rows([1, 2], ((0.3, 0),)))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("steps", "verdict"),
    [((10, 11, 12), "confirmed"), ((10, 11, 60), "partly"), ((90, 91, 92), "not confirmed")],
)
def test_claim_9(records, steps, verdict):
    results = records({"binary": (50, 51, 52), "standardized": (50, 51, 52), "whitened": steps})
    assert whitening.chosen(whitening.read(results / "whitening" / "steps.csv")) == dict.fromkeys(
        whitening.INPUTS, 0.3
    )
    judged = RULES[9](results)
    assert judged.verdict == verdict
    if verdict == "confirmed":
        assert judged.result.startswith(f"{(50 * 51 * 52 / (10 * 11 * 12)) ** (1 / 3):.2f} (")


def test_a_level_that_is_not_reached_is_no_number(records):
    results = records(dict.fromkeys(whitening.INPUTS, (50, 51, 52)))
    path = results / "whitening" / "further_seeds.csv"
    path.write_text(path.read_text().replace("whitened,0.3,2,done,52,52", "whitened,0.3,2,done,,"))
    assert RULES[9](results).verdict == "not confirmed"


def test_further_seeds_of_another_rate_are_refused(records):
    results = records(dict.fromkeys(whitening.INPUTS, (50, 51, 52)))
    path = results / "whitening" / "further_seeds.csv"
    path.write_text(path.read_text().replace("whitened,0.3", "whitened,0.1"))
    with pytest.raises(UserError, match=r"does not have the chosen rates: python scripts/reproduce\.py"):
        whitening.five_seeds(results / "whitening")


@pytest.mark.parametrize(
    ("times", "verdict"),
    [((2, 2, 0.01), "confirmed"), ((0.5, 2, 0.2), "partly"), ((0.01, 0.05, 2), "not confirmed")],
)
def test_claim_13(tmp_path, times, verdict):
    layers = [Cost("conv", 3, 1, 1.0, 1.0, 2.0, 2.0 * share)._asdict() for share in times]
    path = tmp_path / "whitening" / "cost.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"layers": layers}))
    assert RULES[13](tmp_path).verdict == verdict


def test_the_inverse_root():
    u = torch.randn(6, 4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u[:, 1] += u[:, 0]
    root = inverse_root(u)
    columns = u.transpose(0, 1).flatten(1).numpy()
    covariance = np.cov(columns, bias=True) + EPS * np.eye(4)
    np.testing.assert_allclose(root.numpy() @ covariance @ root.numpy(), np.eye(4), atol=1e-10)


@pytest.mark.slow
def test_each_convolution_is_counted():
    """The counts agree with Figure 5's, for one image without the classifier."""
    costs = measure(2, 32, 1)
    assert len(costs) == 69
    assert costs[0] == costs[0]._replace(name="conv1", channels=3, patch=7)
    reduce = next(cost for cost in costs if cost.name == "inception_3a.conv_3x3_reduce")
    assert (reduce.channels, reduce.patch) == (192, 1)
    assert reduce.layer_multiply_adds == 2 * 4 * 4 * 192 * 64
    assert reduce.whitening_multiply_adds == 2 * 4 * 4 * 192**2 + 10 * 192**3
    assert all(cost.layer_s > 0 and cost.whitening_s > 0 for cost in costs)


@pytest.mark.slow
def test_what_runs_leave(trained, tmp_path):
    overrides = ("model.hidden=[]", "observe=[]", "data.validation=10000", "evaluate.at.every=10", "steps=60")
    run = trained("experiment=mnist_baseline", "optim.lr=0.3", "data.inputs=standardized", *overrides)
    whitening.collect([run], tmp_path)
    (found,) = whitening.read(tmp_path / "steps.csv")
    assert (found.inputs, found.lr, found.seed) == ("standardized", 0.3, 0)
    assert found.test is None or 0 < found.test <= 60
