"""On a GPU: a step replayed as a CUDA graph is the eager step, and a run is resumed to the same bits."""

import json

import pytest
import torch
from torch.testing import assert_close

from bn.data.mnist import load_mnist
from bn.data.order import EpochOrder
from bn.errors import Interrupted
from bn.files import REPOSITORY
from bn.models.build import build_model
from bn.models.mlp import MLP
from bn.tasks.cuda_graph import CudaGraphStep
from bn.tasks.mnist import build_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
PATHS = {
    "fused": ["step_path=fused"],
    "autograd": ["step_path=autograd"],
    "momentum": ["step_path=autograd", "optim.momentum=0.9"],
}


@pytest.fixture(scope="module")
def data():
    return load_mnist(REPOSITORY / "data" / "mnist").train.to(torch.device("cuda"))


def mlp_of(config):
    model = build_model(config)
    assert isinstance(model, MLP)
    return model


@pytest.mark.parametrize("experiment", ["mnist_baseline", "mnist_bn"])
@pytest.mark.parametrize("path", PATHS)
def test_the_replayed_step_is_the_eager_step(planned, data, experiment, path):
    config = planned(f"experiment={experiment}", "device=cuda", *PATHS[path]).config
    eager, captured = (mlp_of(config).cuda() for _ in range(2))
    eager_step = build_step(config, eager)
    order = EpochOrder(len(data.labels), config.optim.batch, 0, torch.device("cuda"))
    graph_step = CudaGraphStep(build_step(config, captured), captured, *data.batch(order(0)))
    for name, tensor in captured.state_dict().items():  # capturing left no trace
        assert torch.equal(tensor, eager.state_dict()[name])
    for n in range(5):
        loss = eager_step(*data.batch(order(n))).clone()
        assert_close(graph_step(*data.batch(order(n))), loss, rtol=1e-5, atol=1e-6)
    for name, tensor in captured.state_dict().items():
        assert_close(tensor, eager.state_dict()[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("graph", ["true", "false"])
@pytest.mark.parametrize("path", PATHS)
def test_resumed_to_the_same_bits(trained, stop_after, undisturbed, bits, graph, path):
    overrides = ("experiment=mnist_bn", "device=cuda", f"cuda_graph={graph}", *PATHS[path])
    for steps in (37, 23):
        with pytest.raises(Interrupted):
            trained(*overrides, stop_signal=stop_after(steps))
    assert bits(trained(*overrides)) == bits(undisturbed(*overrides))


def test_auto_takes_the_gpu_and_says_so(cli, typed, planned):
    code, out, _ = cli(*typed("experiment=mnist_bn", "device=auto"))
    assert code == 0
    name = torch.cuda.get_device_name()
    assert "; fused step, CUDA graph\n" in out
    assert f"\n  device   {name} (1 thread)\n" in out
    env = json.loads((planned("experiment=mnist_bn", "device=auto").path / "env.json").read_text())
    assert (env["device"]["type"], env["device"]["name"]) == ("cuda", name)


def test_the_gpu_learns_what_the_cpu_learns(trained):
    def loss(device):
        run = trained("experiment=mnist_bn", f"device={device}")
        return json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])["train/loss"]

    assert loss("cuda") == pytest.approx(loss("cpu"), rel=1e-3)
