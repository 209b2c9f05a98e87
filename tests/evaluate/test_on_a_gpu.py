"""The same evaluation on a GPU."""

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("crops", [1, 144])
@pytest.mark.parametrize("statistics", ["moving", "population"])
def test_results_equal_the_cpus(checkpoint, evaluate, on_tree, tmp_path, monkeypatch, crops, statistics):
    """Without TF32, torch's default for convolutions, which changed probabilities by up to 0.018."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    path, data = checkpoint(), on_tree(each=4)
    cpu, gpu = (
        evaluate(
            path, data=data, crops=crops, statistics=statistics, device=device, precision="float32",
            output=str(tmp_path / device),
        )
        for device in ("cpu", "cuda")
    )  # fmt: skip
    assert (cpu["device"]["type"], gpu["device"]["type"]) == ("cpu", "cuda")
    torch.testing.assert_close(gpu["probabilities"].cpu(), cpu["probabilities"], rtol=0, atol=1e-3)


def test_auto_is_bf16(checkpoint, evaluate, on_tree):
    record = evaluate(checkpoint(), data=on_tree(), device="auto")
    assert (record["device"]["type"], record["precision"]) == ("cuda", "bf16")
