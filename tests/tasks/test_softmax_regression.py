"""With model.hidden=[] the MLP is softmax regression, for both step paths."""

import numpy as np
import pytest
import torch

from bn.data.seeds import derive_seed
from bn.errors import Interrupted
from bn.models.mlp import MLP
from bn.run.checkpoint import list_checkpoints, load_checkpoint
from bn.run.directory import read_lines
from bn.train import build_task
from tests.conftest import slowly

RUN = ("experiment=mnist_baseline", "model.hidden=[]", "optim.lr=0.5")


def by_hand(config, steps):
    """Return weights, biases and losses after `steps` steps of gradient descent, written out in float64."""
    torch.manual_seed(derive_seed(config.seed, "torch"))
    task = build_task(config, torch.device("cpu"), 0)
    assert isinstance(task.model, MLP)
    weight = task.model.classifier.weight.detach().double().numpy().copy()
    bias = np.zeros(10)
    losses = []
    for n in range(1, steps + 1):
        images, labels = task.draw(n)
        x, y = images.double().numpy(), np.eye(10)[labels.numpy()]
        logits = x @ weight.T + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        losses.append(-np.log(p[np.arange(len(p)), labels.numpy()]).mean())
        weight -= config.optim.lr * (p - y).T @ x / len(x)
        bias -= config.optim.lr * (p - y).mean(0)
    return weight, bias, losses


@pytest.mark.parametrize("path", ["fused", "autograd"])
@pytest.mark.parametrize("norm", ["none", *slowly("batch")])
def test_training_equals_gradient_descent_by_hand(trained, path, norm):
    """Without hidden layers there is nothing to normalize."""
    run = trained(*RUN, f"step_path={path}", f"model.norm={norm}")
    weight, bias, losses = by_hand(run.config, 120)
    found = load_checkpoint(list_checkpoints(run.checkpoints)[-1])["model"]
    np.testing.assert_allclose(found["classifier.weight"], weight, atol=2e-5)
    np.testing.assert_allclose(found["classifier.bias"], bias, atol=2e-5)
    last = read_lines(run.path / "metrics.jsonl")[-1]
    assert last["train/loss"] == pytest.approx(np.mean(losses[-20:]), rel=1e-5)
    assert last["test/accuracy"] > 0.8


def test_it_resumes_and_is_observed(trained, stop_after, planned, bits, undisturbed):
    overrides = (*RUN, "observe=[percentiles,gradient_norms,weight_norms,saturation]")
    with pytest.raises(Interrupted):
        trained(*overrides, stop_signal=stop_after(50))
    assert bits(trained(*overrides)) == bits(undisturbed(*overrides))
