"""Operations that a training step dispatches. On a GPU each is a kernel launch."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bn.tasks import build_task


class Dispatched(TorchDispatchMode):
    """Counts operations by name."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count[func._schema.name.removeprefix("aten::")] += 1
        return func(*args, **(kwargs or {}))


def test_the_batches_of_all_layers_are_counted_at_once(planned):
    task = build_task(
        planned("experiment=bn_x5", "scale=smoke", "model.width=0.01").config, torch.device("cpu"), 0
    )
    with Dispatched() as step:
        task.step(*task.draw(1))
    assert step.count["native_batch_norm"] == 69
    assert step.count["_foreach_add_"] == 1
    counters = [b for name, b in task.model.named_buffers() if name.endswith("num_batches_tracked")]
    assert [int(counter) for counter in counters] == [1] * 69
    task.model(torch.zeros(32, 3, 28, 28))  # outside a step each layer counts by itself
    assert [int(counter) for counter in counters] == [2] * 69
    task.close()
