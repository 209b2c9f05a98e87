"""On a GPU: DistributedDataParallel's step, replayed as a CUDA graph, is the step of one process.

With one process, which is all that one GPU allows: NCCL is called, and has nobody to wait for.
"""

import pytest
import torch
import torch.distributed as dist
from torch.testing import assert_close

from bn.distributed.team import Team, data_parallel
from bn.tasks import build_task
from bn.tasks.cuda_graph import CudaGraphStep
from tests.integration.gpu.test_image_steps import SMOKE, TOLERANCE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


class OneWrapped(Team):
    def data_parallel(self, network):
        return data_parallel(network, 1)


@pytest.fixture
def group(tmp_path):
    dist.init_process_group(
        "cpu:gloo,cuda:nccl", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    ("precision", "compile"), [("float32", "never"), ("bf16", "never"), ("bf16", "always")]
)
def test_it_is_the_step_of_one_process(planned, group, precision, compile, graph):
    overrides = (*SMOKE, "experiment=bn_x5", f"precision={precision}")
    device = torch.device("cuda")
    alone = build_task(planned(*overrides, "compile=never").config, device, 0)
    wrapped = build_task(planned(*overrides, f"compile={compile}").config, device, 0, OneWrapped())
    if graph:
        wrapped.capture()
        assert isinstance(wrapped.step, CudaGraphStep)
        for name, tensor in wrapped.model.state_dict().items():  # capturing left no trace
            assert torch.equal(tensor, alone.model.state_dict()[name]), name
    for n in range(1, 6):
        expected = alone.step(*alone.draw(n)).clone()
        found = wrapped.step(*wrapped.draw(n))
        assert_close(found, expected, rtol=TOLERANCE[precision], atol=TOLERANCE[precision])
    for task in (alone, wrapped):
        task.close()
