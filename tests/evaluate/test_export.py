"""docs/inception.md: a folded network, exported as the page says."""

import re

import pytest
import torch

from bn.run.directory import REPOSITORY


@pytest.mark.slow
def test_the_exported_network_computes_the_same(checkpoint, network, tmp_path, monkeypatch):
    path = checkpoint()
    page = (REPOSITORY / "docs" / "inception.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    code = code.replace("runs/bn_x5/scale-cifar10/seed_0", str(path.parents[1])).replace("28, 28", "14, 14")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    program = torch.export.load(tmp_path / "bn_x5.pt2").module()
    images = torch.randn(5, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(path)(images)
        torch.testing.assert_close(program(images), expected, rtol=0, atol=1e-4 * expected.abs().max().item())
    assert not [name for name, _ in program.named_buffers() if "running_mean" in name]  # no BN left
