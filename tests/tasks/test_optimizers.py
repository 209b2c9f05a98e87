"""`optim=adagrad` and `optim=adam`, with both networks."""

import pytest
import torch

from bn.errors import Interrupted, UserError
from bn.fused_mlp import unsupported
from bn.models import mlp
from bn.run.directory import read_lines
from bn.tasks.optim import adagrad, adam, build_optimizer
from tests.conftest import slowly

IMAGES = (
    "experiment=bn_x5", "scale=smoke", "model.width=0.01", "optim.batch=8", "model.norm_group=8", "steps=12",
    "steps_factor=1", "log_every=4", "checkpoint_every=5", "probe.examples=8", "optim.lr_factor=1",
)  # fmt: skip
NETWORKS = {"mlp": ("experiment=mnist_bn", "optim.weight_decay=1e-3"), "inception": IMAGES}


@pytest.mark.parametrize("name", ["adagrad", "adam"])
@pytest.mark.parametrize("network", ["mlp", *slowly("inception")])
def test_stopped_and_resumed_to_the_same_bits(trained, stop_after, undisturbed, bits, network, name):
    overrides = (*NETWORKS[network], f"optim={name}", "optim.decay.factor=0.9", "optim.decay.every=5")
    for steps in (3, 4):
        with pytest.raises(Interrupted):
            trained(*overrides, stop_signal=stop_after(steps))
    run = trained(*overrides)
    assert bits(run) == bits(undisturbed(*overrides))
    assert f"optim-{name}" in str(run.path)
    losses = [line["train/loss"] for line in read_lines(run.path / "metrics.jsonl") if "train/loss" in line]
    assert network == "inception" or losses[-1] < losses[0]  # 12 steps of a network of 8 filters are too few


@pytest.mark.parametrize("make", [adagrad, adam])
def test_weight_decay_applies_to_weights_only(make):
    groups = make(mlp(), 0.1, weight_decay=0.2).param_groups
    assert [group["weight_decay"] for group in groups] == [0.2, 0.0]
    assert {p.dim() for p in groups[0]["params"]} == {2}
    assert {p.dim() for p in groups[1]["params"]} == {1}


def test_adam_equals_torchs():
    ours, theirs = mlp(generator=torch.Generator().manual_seed(0)), mlp()
    theirs.load_state_dict(ours.state_dict())
    optimizers = [adam(ours, 0.01), torch.optim.Adam(theirs.parameters(), 0.01)]
    for _ in range(3):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(torch.ones(4, 784) * torch.arange(4)[:, None]).square().sum().backward()
            optimizer.step()
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], msg=name)


def test_the_config_selects_the_optimizer(planned):
    config = planned("experiment=bn_x5", "scale=smoke", "optim=adam").config
    assert (config.optim.name, config.optim.lr, config.optim.lr_factor) == ("adam", 0.001, 5.0)
    assert isinstance(build_optimizer(mlp(), config.optim), torch.optim.Adam)
    assert unsupported(planned("experiment=mnist_bn", "optim=adam").config) == "optim.name=adam"
    with pytest.raises(UserError, match=r"^optim.momentum=0.9: accepted with optim.name=adam: 0$"):
        planned("experiment=mnist_bn", "optim=adam", "optim.momentum=0.9")
    with pytest.raises(UserError, match=r"^optim.name='lion': accepted: sgd, adagrad, adam$"):
        planned("experiment=mnist_bn", "optim.name=lion")
