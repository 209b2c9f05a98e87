"""Top-1, top-5 and loss over batches of images, against numpy."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from bn.data.mnist import Examples
from bn.data.seeds import generator
from bn.evaluate.accuracy import accuracy, evaluate_population, image_metrics
from bn.norm import BatchNorm


def network(classes=12):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 20), BatchNorm(20), nn.Linear(20, classes)).train()


def random_images(count=53, classes=12):
    draws = generator(1, "pictures")
    images = torch.randn(count, 3, 4, 4, generator=draws)
    return images, torch.randint(classes, (count,), generator=draws)


def batches(images, labels, size):
    return zip(images.split(size), labels.split(size), strict=True)


@pytest.mark.parametrize("size", [53, 10, 1])
def test_counts_and_loss_are_exact_for_any_batch_size(size):
    model = network()
    images, labels = random_images()
    model(images)
    before = copy.deepcopy(model.state_dict())
    found = image_metrics(model, batches(images, labels, size))
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name

    logits = copy.deepcopy(model).double().eval()(images.double()).detach().numpy()
    order = np.argsort(-logits, axis=1)
    right = order == labels.numpy()[:, None]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert found["accuracy"] == right[:, 0].sum() / 53
    assert found["accuracy_top5"] == right[:, :5].sum() / 53
    assert found["loss"] == pytest.approx(-log_p[range(53), labels.numpy()].mean(), rel=1e-6)


def test_fewer_classes_than_five():
    model = network(classes=3)
    images, labels = random_images(classes=3)
    model(images)
    assert image_metrics(model, batches(images, labels, 20))["accuracy_top5"] == 1.0


def test_no_images_is_an_error():
    with pytest.raises(ValueError, match="no images"):
        image_metrics(network(), [])


def test_population_statistics_are_used_and_moving_averages_restored():
    model = network()
    images, labels = random_images()
    model(images)
    before = copy.deepcopy(model.state_dict())
    # From other images, so that moving averages and population statistics differ.
    others = (images * 3 + 1).split(27)
    found = evaluate_population(model, others, lambda: image_metrics(model, batches(images, labels, 10)))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name

    linear, norm, last = (copy.deepcopy(model[i]).double() for i in (1, 2, 3))
    assert isinstance(norm, BatchNorm)
    u = [linear(part.double().flatten(1)) for part in others]
    mean = torch.stack([part.mean(0) for part in u]).mul(torch.tensor([[27.0], [26.0]]) / 53).sum(0)
    var = torch.stack([part.var(0) for part in u]).mul(torch.tensor([[26.0], [25.0]]) / 51).sum(0)
    x = linear(images.double().flatten(1))
    logits = last(norm.weight * (x - mean) / (var + norm.eps).sqrt() + norm.bias)
    expected = nn.functional.cross_entropy(logits, labels).item()
    assert found["loss_population"] == pytest.approx(expected, rel=1e-5)
    assert set(found) == {"accuracy_population", "accuracy_top5_population", "loss_population"}


def test_without_bn_there_are_no_population_statistics():
    assert evaluate_population(nn.Linear(3, 2), [], lambda: {"accuracy": 1.0}) == {}


def test_a_non_finite_answer_is_wrong():
    model = nn.Flatten()
    logits = torch.zeros(4, 6)
    logits[:, 2] = 1.0
    logits[0] = torch.nan
    logits[1, 3] = torch.inf
    logits[2, 3] = -torch.inf
    labels = torch.tensor([0, 3, 2, 2])  # of a row of NaN, argmax is 0
    found = image_metrics(model, [(logits, labels)])
    assert (found["accuracy"], found["accuracy_top5"]) == (0.25, 0.25)
    scale = nn.Conv1d(1, 1, 1, bias=False)
    scale.weight.data.fill_(1.0)
    model = nn.Sequential(nn.Unflatten(1, (1, 6)), scale, nn.Flatten())
    assert accuracy(model, Examples(logits, labels)) == 0.25
