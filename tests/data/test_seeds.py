"""All random numbers derive from one seed, which may be 0."""

import pytest
import torch

from bn.data.order import EpochOrder
from bn.data.seeds import derive_seed, generator
from bn.models.build import build_model
from bn.models.mlp import MLP


@pytest.mark.parametrize("experiment", ["mnist_baseline", "mnist_bn"])
def test_the_same_seed_gives_the_same_bits_in_another_folder(
    trained, undisturbed, bits, tmp_path, experiment
):
    torch.manual_seed(17)  # earlier draws do not matter
    run = trained(f"experiment={experiment}", "seed=0", output=tmp_path / "elsewhere")
    assert bits(run) == bits(undisturbed(f"experiment={experiment}"))


def test_different_seeds_differ_in_everything(trained, undisturbed, bits):
    zero, one = bits(undisturbed("experiment=mnist_bn")), bits(trained("experiment=mnist_bn", "seed=1"))
    assert zero["metrics"] != one["metrics"]
    weights = [name for name in zero["checkpoint"]["model"] if name.endswith("weight")]
    assert len(weights) == 7  # 4 linear, 3 gamma
    assert all(zero["checkpoint"]["model"][name] != one["checkpoint"]["model"][name] for name in weights)
    assert all(zero["activations"][f"layer{i}"] != one["activations"][f"layer{i}"] for i in (1, 2, 3))


def test_both_networks_start_from_the_same_weights(planned):
    baseline = build_model(planned("experiment=mnist_baseline").config)
    bn = build_model(planned("experiment=mnist_bn").config)
    other = build_model(planned("experiment=mnist_bn", "seed=1").config)

    def weights(model):
        return [layer.linear.weight for layer in model.layers] + [model.classifier.weight]

    assert all(torch.equal(a, b) for a, b in zip(weights(baseline), weights(bn), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(weights(bn), weights(other), strict=True))


def test_the_initial_weights_have_the_configured_std(planned):
    for std in (0.01, 0.1):
        model = build_model(planned("experiment=mnist_bn", f"model.init_std={std}").config)
        assert isinstance(model, MLP)
        weight = model.layers[0].linear.weight
        assert abs(weight.std().item() / std - 1) < 0.01  # 78,400 draws
        assert abs(weight.mean().item() / std) < 0.02


def test_each_use_and_each_seed_has_its_own_stream():
    paths = [
        (0,),
        (1,),
        (0, "init"),
        (0, "order", 0),
        (0, "order", 1),
        (1, "order", 0),
        (0, "orde", "r/0"),
        (0, 1),
    ]
    assert len({derive_seed(*path) for path in paths}) == len(paths)
    assert all(0 <= derive_seed(*path) < 2**63 for path in paths)
    first = torch.randn(5, generator=generator(0, "init"))
    torch.randn(3)
    assert torch.equal(first, torch.randn(5, generator=generator(0, "init")))


def test_derived_seeds_have_not_changed():
    assert derive_seed(0, "order", 0) == 3955691223199900983


CPU = torch.device("cpu")


def epoch(order, number):
    batches = [order(number * order.batches_per_epoch + i) for i in range(order.batches_per_epoch)]
    return torch.cat(batches)


def test_each_epoch_is_a_new_permutation():
    order = EpochOrder(600, 60, 0, CPU)
    epochs = [epoch(order, number) for number in range(5)]
    for indices in epochs:
        assert sorted(indices.tolist()) == list(range(600))
        assert indices.tolist() != list(range(600))
    assert len({tuple(indices.tolist()) for indices in epochs}) == 5


def test_the_unused_examples_differ_in_each_epoch():
    order = EpochOrder(605, 60, 0, CPU)
    assert order.batches_per_epoch == 10
    left = [set(range(605)) - set(epoch(order, number).tolist()) for number in range(4)]
    assert all(len(few) == 5 for few in left)
    assert len({frozenset(few) for few in left}) == 4


def test_a_mini_batch_depends_on_seed_and_step_only():
    forward = EpochOrder(600, 60, 3, CPU)
    steps = range(25)
    expected = [forward(step).clone() for step in steps]
    backward = EpochOrder(600, 60, 3, CPU)
    torch.manual_seed(5)
    assert all(torch.equal(backward(step), expected[step]) for step in reversed(steps))
    other = EpochOrder(600, 60, 4, CPU)
    assert not any(torch.equal(other(step), expected[step]) for step in steps)
