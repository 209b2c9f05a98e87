"""BN as a regularizer: the records of tiny runs, and the verdicts on synthetic records."""

import pytest

from bn.config import MlpModel
from bn.run.directory import read_lines
from experiments import collected, regularization
from experiments.verdicts import RULES, Judged
from experiments.verdicts import regularization as rules

SIZES = (1000, 5000, 50000)


@pytest.fixture
def records(tmp_path):
    """Records with `accuracy(network, size)` for the seeds, one of which has a little more."""

    def write(accuracy):
        rows = [
            (network, size, seed, "done", accuracy(network, size) + seed * spread, 0.9, 0.95)
            for network, spread in zip(regularization.LABEL, (0.0, 0.0, 0.0, 0.0001, 0.0001), strict=True)
            for size in SIZES
            for seed in (0, 1, 2)
        ]
        collected.write_csv(tmp_path / "regularization" / "final.csv", regularization.HEADER, rows)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("better_at", "verdict"), [(SIZES, "confirmed"), (SIZES[:1], "partly"), ((), "not confirmed")]
)
def test_claim_43(records, better_at, verdict):
    def accuracy(network, size):
        return 0.9 if network == "population" and size in better_at else 0.91

    # where it is not better it is worse by the spread
    judged = RULES[43](records(accuracy))
    assert judged.verdict == verdict
    assert "1,000 examples" in judged.result


@pytest.mark.parametrize(
    ("points", "worse_at", "verdict"),
    [
        ([1.0, 1.1], (), "confirmed"),
        ([1.0, -1.1], (), "confirmed"),
        ([1.0, 1.1], SIZES[:1], "partly"),
        ([-1.0, -1.1], (), "partly"),
        ([-1.0, -1.1], SIZES, "not confirmed"),
    ],
)
def test_claim_44(records, monkeypatch, points, worse_at, verdict):
    class Effect:
        pass

    Effect.points = points  # type: ignore[attr-defined]

    def accuracy(network, size):
        if network == "bn_dropout":
            return 0.95 if size in worse_at else 0.85
        return 0.9

    results = records(accuracy)
    monkeypatch.setattr(rules.ablation, "read_groups", lambda folder: ({}, {}))
    monkeypatch.setattr(rules.ablation, "effect", lambda groups, end, switch, chance: Effect)
    monkeypatch.setattr(rules.collected, "read_json", lambda path: {"config": {"data.classes": 10}})
    assert RULES[44](results).verdict == verdict


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        (("confirmed", "confirmed"), "confirmed"),
        (("partly", "not confirmed"), "partly"),
        (("confirmed", "not confirmed"), "partly"),
        (("not confirmed", "not confirmed"), "not confirmed"),
    ],
)
def test_claim_59(monkeypatch, tmp_path, verdicts, verdict):
    for number, one in zip((43, 58), verdicts, strict=True):
        monkeypatch.setitem(rules.RULES, number, lambda results, one=one: Judged(one, ""))
    assert RULES[59](tmp_path).verdict == verdict


@pytest.mark.parametrize(
    ("norm", "dropout", "name"),
    [
        ("none", 0.0, "plain"), ("none", 0.2, "dropout"), ("batch", 0.0, "bn"), ("batch", 0.2, "bn_dropout"),
        ("population", 0.0, "population"),
    ],
)  # fmt: skip
def test_the_networks(norm, dropout, name):
    model = MlpModel(
        name="mlp", hidden=(3,), norm=norm, nonlinearity="sigmoid", dropout=dropout, init_std=0.1,
        bn_eps=1e-5, bn_momentum=0.1,
    )  # fmt: skip
    assert regularization.network_of(model) == name
    assert name in regularization.LABEL


def test_what_a_run_leaves(trained, tmp_path):
    run = trained(
        "experiment=mnist_bn", "model.norm=population", "data.examples=900", "probe.examples=900", "steps=40",
        "observe=[training_accuracy]",
    )  # fmt: skip
    regularization.collect([run], tmp_path / "regularization")
    seeds = regularization.read(tmp_path / "regularization")["population"][900]
    last = read_lines(run.path / "metrics.jsonl")[-1]
    assert seeds.test == [pytest.approx(100 * last["test/accuracy_population"])]
    gap = last["observe/training_accuracy"] - last["test/accuracy"]
    assert seeds.gap == [pytest.approx(100 * gap)]
