"""On a GPU: each way to compute a step of an Inception network gives the eager step, and a run is resumed."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from bn.errors import Interrupted
from bn.norm.ghost import ghost_norm
from bn.tasks import build_task

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
SMOKE = (
    "scale=smoke", "model.width=0.1", "device=cuda", "steps=12", "steps_factor=1", "log_every=4",
    "checkpoint_every=5", "evaluate.at.every=6", "evaluate.population_batches=2", "probe.examples=32",
    "probe.at.early=[0]", "probe.at.every=6",
)  # fmt: skip
TOLERANCE = {"float32": 1e-3, "bf16": 3e-2}  # float32's convolutions may be in TF32


def task_of(planned, *overrides):
    return build_task(planned(*SMOKE, *overrides).config, torch.device("cuda"), 0)


WAYS = [  # compiled in the precision that is taken by default alone: each takes a minute
    *itertools.product(list(TOLERANCE), ["never"], [False, True]),
    *itertools.product(["bf16"], ["always"], [False, True]),
]


@pytest.mark.parametrize("experiment", ["inception", "bn_x5"])
@pytest.mark.parametrize(("precision", "compile", "graph"), WAYS)
def test_each_way_gives_the_eager_step(planned, experiment, precision, compile, graph):
    """Without dropout, whose draws differ; losses of five steps, and that capturing leaves no trace."""
    overrides = (f"experiment={experiment}", f"precision={precision}", "model.dropout=0")
    eager = task_of(planned, *overrides, "compile=never")
    other = task_of(planned, *overrides, f"compile={compile}")
    before = {name: tensor.clone() for name, tensor in other.model.state_dict().items()}
    if graph:
        other.capture()
        for name, tensor in other.model.state_dict().items():
            assert torch.equal(tensor, before[name]), name
        assert all(not tensor.any() for tensor in other.step.state_tensors())  # momentum
    for n in range(1, 6):
        expected = eager.step(*eager.draw(n)).clone()
        assert_close(
            other.step(*other.draw(n)), expected, rtol=TOLERANCE[precision], atol=TOLERANCE[precision]
        )
    for task in (eager, other):
        task.close()


@pytest.mark.parametrize(
    ("overrides", "described"),
    [
        (("compile=never", "precision=float32"), "float32, channels last, CUDA graph"),
        ((), "bf16, channels last, compiled, CUDA graph"),  # the default, and at 224 that of scale=imagenet
    ],
    ids=["never", "default"],
)
def test_groups_of_a_large_mini_batch_are_normalized_apart(planned, monkeypatch, overrides, described):
    """The 256 of scale=imagenet in groups of 32: each way against a call of the kernel for each group."""
    # Without dropout, whose draws differ between a graph and the eager step.
    batch = ("experiment=bn_baseline", "optim.batch=256", "optim.lr_batch=null", "model.dropout=0")
    other = task_of(planned, *batch, *overrides)
    other.capture()
    assert other.describe().startswith(described)
    found = [other.step(*other.draw(n)).clone() for n in range(1, 6)]
    monkeypatch.setattr("bn.norm.module.ghost_norm_one_call", ghost_norm)
    apart = task_of(planned, *batch, "precision=float32", "compile=never")
    expected = [apart.step(*apart.draw(n)).clone() for n in range(1, 6)]
    tolerance = TOLERANCE[described.partition(",")[0]]
    assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for task in (apart, other):
        task.close()


@pytest.mark.parametrize("precision", list(TOLERANCE))
def test_a_step_does_not_wait_for_the_device(planned, no_waiting, precision):
    task = task_of(planned, "experiment=bn_x5", f"precision={precision}", "compile=never")
    for n in range(1, 4):
        task.step(*task.draw(n))
    with no_waiting():
        for n in range(4, 7):
            task.step(*task.draw(n))
    task.close()


@pytest.mark.parametrize("graph", ["true", "false"])
@pytest.mark.parametrize("precision", list(TOLERANCE))
@pytest.mark.parametrize("experiment", ["inception", "bn_x5"])
def test_resumed_to_the_same_bits(
    trained, stop_after, undisturbed, bits, monkeypatch, experiment, precision, graph
):
    """Dropout's random state included."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    overrides = (
        f"experiment={experiment}", *SMOKE, f"precision={precision}", "compile=never", f"cuda_graph={graph}",
    )  # fmt: skip
    for steps in (2, 5):
        with pytest.raises(Interrupted):
            trained(*overrides, stop_signal=stop_after(steps))
    assert bits(trained(*overrides)) == bits(undisturbed(*overrides))


def test_the_gpu_learns_what_the_cpu_learns(trained):
    from bn.run.directory import read_lines

    def loss(device):
        run = trained("experiment=bn_x5", *SMOKE, f"device={device}", "precision=float32", "compile=never")
        return read_lines(run.path / "metrics.jsonl")[-1]["train/loss"]

    assert loss("cuda") == pytest.approx(loss("cpu"), rel=2e-2)
