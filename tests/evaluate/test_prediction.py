"""Averages of class probabilities over crops and networks, and their cost."""

import pytest
import torch
from torch import nn

from bn.evaluate.prediction import best_classes, class_probabilities, rechunked


class Pixels(nn.Module):
    """A network whose logits are pixels, so that any probabilities are possible; records its batch sizes."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale
        self.batches = []

    def forward(self, x):
        self.batches.append(len(x))
        return self.scale * x[:, :, 0, 0]


def blocks(count, crops, seed=0):
    """Crops per image for three classes, with large logits whose softmax is far from linear."""
    generator = torch.Generator().manual_seed(seed)
    return [5 * torch.randn(crops, 3, 2, 2, generator=generator) for _ in range(count)]


@pytest.mark.parametrize(("count", "crops", "batch"), [(5, 144, 100), (7, 144, 200), (9, 1, 4), (3, 6, 6)])
def test_probabilities_are_averaged_and_not_logits(count, crops, batch):
    images = blocks(count, crops)
    found = torch.cat(list(class_probabilities([Pixels()], images, crops, batch)))
    expected = torch.stack([one[:, :, 0, 0].double().softmax(1).mean(0) for one in images])
    assert found.shape == (count, 1, 3)
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-12, atol=1e-12)
    of_logits = torch.stack([one[:, :, 0, 0].double().mean(0).softmax(0) for one in images])
    if crops > 1:
        assert (found[:, 0] - of_logits).abs().max() > 0.05


def test_each_network_has_its_own_answer():
    images = blocks(4, 6)
    together = torch.cat(list(class_probabilities([Pixels(), Pixels(-0.5)], images, 6, 5)))
    alone = [torch.cat(list(class_probabilities([Pixels(s)], images, 6, 5))) for s in (1.0, -0.5)]
    assert torch.equal(together, torch.cat(alone, 1))


@pytest.mark.parametrize(("count", "batch"), [(5, 100), (3, 1000), (1, 144)])
def test_144_crops_cost_144_forward_examples_in_full_batches(count, batch):
    model = Pixels()
    list(class_probabilities([model], blocks(count, 144), 144, batch))
    total = 144 * count
    assert model.batches == [batch] * (total // batch) + [total % batch] * (total % batch > 0)


def test_an_image_is_yielded_as_soon_as_it_is_complete():
    """The whole validation set is never held in memory."""
    given = []

    def images():
        for block in blocks(10, 144):
            given.append(block)
            yield block

    held = [len(given) - done for done, _ in enumerate(class_probabilities([Pixels()], images(), 144, 50), 1)]
    assert len(held) == 10
    assert max(held) <= 1


@pytest.mark.parametrize("sizes", [(), (3,), (4,), (1, 1, 9, 2), (0, 5, 0)])
def test_rechunked_keeps_rows_and_order(sizes):
    rows = torch.arange(sum(sizes))
    found = list(rechunked(rows.split(list(sizes)) if sizes else [], 4))
    assert [len(chunk) for chunk in found] == [4] * (len(rows) // 4) + [len(rows) % 4] * (len(rows) % 4 > 0)
    assert torch.equal(torch.cat([*found, rows[:0]]), rows)


def test_best_classes():
    probabilities = torch.tensor([[0.1, 0.3, 0.2, 0.0, 0.05, 0.35], [0.5, 0.1, 0.1, float("nan"), 0.2, 0.1]])
    assert best_classes(probabilities).tolist() == [[5, 1, 2, 0, 4], [-1] * 5]
    assert best_classes(torch.tensor([0.2, 0.5, 0.3])).tolist() == [1, 2, 0]
