"""For any change to the MLP the fused step trains it as the readable step does, or refuses it."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from bn.errors import UserError
from bn.fused_mlp import FusedStep
from bn.models import mlp
from bn.models.mlp import MLP, HiddenLayer
from bn.norm import BatchNorm
from bn.norm.population import PopulationNorm
from bn.tasks import build_task
from bn.tasks.optim import sgd
from bn.tasks.steps import AutogradStep

IMAGES = torch.rand(30, 12, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(30) % 10
PLACES = (
    "", "hidden", "hidden.1", "hidden.1.linear", "hidden.1.norm", "hidden.1.nonlinearity", "hidden.1.dropout",
    "classifier",
)  # fmt: skip


def hook(module):
    module.register_forward_hook(lambda _module, _inputs, output: 2 * output)


def pre_hook(module):
    module.register_forward_pre_hook(lambda _module, inputs: (-inputs[0],))


def backward_hook(module):
    module.register_full_backward_hook(
        lambda _module, found, _: tuple(g if g is None else 2 * g for g in found)
    )


def gradient_hook(module):
    for parameter in module.parameters():
        parameter.register_hook(lambda gradient: 2 * gradient)


def hook_after_the_gradient(module):
    for parameter in module.parameters():
        parameter.register_post_accumulate_grad_hook(lambda one: one.grad.mul_(2))


def subclass(module):
    class Other(type(module)):
        def forward(self, x):
            return super().forward(x) / 2

    module.__class__ = Other


def frozen(module):
    module.requires_grad_(False)


def replace(network, place, new):
    parent, _, child = place.rpartition(".")
    setattr(network.get_submodule(parent), child, new())


def layer_norm():
    return nn.LayerNorm(8)


def batch_norm_of_torch():
    return nn.BatchNorm1d(8)


def groups_of_ten():
    return BatchNorm(8, group=10)


def population_norm():
    return PopulationNorm(8)


def dropout():
    return nn.Dropout(0.5)


def leaky():
    return nn.LeakyReLU()


def two_linear():
    return nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))


def no_linear():
    return nn.Identity()


def weight_norm(network):
    parametrizations.weight_norm(network.hidden[1].linear)


def pruned(network):
    prune.random_unstructured(network.hidden[1].linear, "weight", amount=0.5)


def tied(network):
    network.hidden[1].linear.weight = network.hidden[2].linear.weight


def same_layer_twice(network):
    network.hidden[2] = network.hidden[1]


def dropout_between(network):
    network.hidden.insert(1, nn.Dropout(0.5))


def norm_after(network):
    network.hidden[1].place = "after"


def norm_on_input(network):
    network.hidden[1].place = "input"


def sigmoid_after_all(network):
    network.hidden.append(nn.Sigmoid())


IN_PLACE = {
    f"{change.__name__} of {place or 'the network'}": (lambda n, c=change, p=place: c(n.get_submodule(p)))
    for change in (
        hook,
        pre_hook,
        backward_hook,
        gradient_hook,
        hook_after_the_gradient,
        subclass,
        frozen,
    )
    for place in PLACES
}
REPLACED = {
    f"{new.__name__} at {place}": (lambda n, new=new, p=place: replace(n, p, new))
    for place, news in {
        "hidden.1.norm": (layer_norm, batch_norm_of_torch, groups_of_ten, population_norm, dropout),
        "hidden.1.nonlinearity": (leaky, dropout, layer_norm),
        "hidden.1.linear": (two_linear, no_linear),
        "hidden.1.dropout": (dropout, leaky),
    }.items()
    for new in news
}
WHOLE = {
    change.__name__: change
    for change in (
        weight_norm,
        pruned,
        tied,
        same_layer_twice,
        dropout_between,
        norm_after,
        norm_on_input,
        sigmoid_after_all,
    )
}
CHANGES = {**IN_PLACE, **REPLACED, **WHOLE}


def changed(name, norm):
    torch.manual_seed(0)
    network = mlp(12, (8, 8, 8), norm=norm, generator=torch.Generator().manual_seed(1))
    CHANGES[name](network)
    return network


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("name", CHANGES)
def test_the_fused_step_trains_the_same_or_refuses(name, norm):
    fused, readable = changed(name, norm), changed(name, norm)
    try:
        fast = FusedStep(fused, batch=30, lr=0.5)
    except ValueError as error:
        refusal = str(error)
        fast = None
    else:
        refusal = "the fused step cannot "
    assert refusal.startswith("the fused step cannot ")
    if fast is not None:
        step = AutogradStep(readable, sgd(readable, 0.5))
        for _ in range(3):
            torch.testing.assert_close(fast(IMAGES, LABELS), step(IMAGES, LABELS))
        torch.testing.assert_close(fused.state_dict(), readable.state_dict())


def test_an_unchanged_network_is_not_refused():
    for norm in ("none", "batch"):
        FusedStep(mlp(12, (8, 8), norm=norm), batch=30, lr=0.5)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_run_with_a_changed_network_uses_and_reports_the_readable_step(planned, monkeypatch, norm):
    def build(_config):
        network = mlp(norm=norm, hidden=(8, 8))
        network.hidden.insert(1, nn.Dropout(0.5))
        return network

    monkeypatch.setattr("bn.tasks.mnist.build_model", build)
    run = ("experiment=mnist_bn", f"model.norm={norm}")
    task = build_task(planned(*run).config, torch.device("cpu"), 0)
    assert type(task.step) is AutogradStep
    assert task.describe() == "readable step, the fused step does not support this network"
    with pytest.raises(
        UserError, match=r"^step_path=fused: the fused step cannot compute Dropout; accepted: "
    ):
        build_task(planned(*run, "step_path=fused").config, torch.device("cpu"), 0)


def test_the_changed_places_exist_in_the_network():
    network = mlp(12, (8, 8, 8))
    assert isinstance(network, MLP)
    assert isinstance(network.hidden[1], HiddenLayer)
    assert {*PLACES} <= {name for name, _ in network.named_modules()}
