"""scripts/export.py: an exported file, loaded by its own library, computes what the network computes."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from bn.data.mnist import load_mnist
from bn.data.photometric import normalize
from bn.errors import UserError
from bn.evaluate import export as module
from bn.evaluate.export import export
from bn.evaluate.trained import load_trained
from bn.files import REPOSITORY
from bn.norm import BatchNorm
from bn.run.directory import read_lines
from tests.conftest import slowly
from tests.evaluate.test_public_evaluation import file, public  # noqa: F401  # fixtures

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the exporters

SCRIPT = REPOSITORY / "scripts" / "export.py"


def loaded(path):
    return torch.export.load(path).module()


@pytest.mark.parametrize(
    ("statistics", "name", "metric"),
    [
        ("moving", "mnist_bn", "test/accuracy"),
        ("population", "mnist_bn_population", "test/accuracy_population"),
    ],
)
@pytest.mark.parametrize("inputs", ["binary", *slowly("inverted")])
def test_an_exported_mlp_has_the_accuracy_of_its_run(trained, tmp_path, statistics, name, metric, inputs):
    run = trained("experiment=mnist_bn", f"data.inputs={inputs}")
    network = load_trained(run.path)
    ((path, _),) = export(network, statistics, ["torch"], tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / f"{name}.pt2"
    program = loaded(path)
    assert not any(isinstance(each, BatchNorm) for each in program.modules())
    assert not any("norm" in name for name, _ in program.named_buffers())
    test = load_mnist(REPOSITORY / "data" / "mnist", inputs=inputs).test
    correct = (program(test.images.float()).argmax(1) == test.labels).sum().item()
    (expected,) = [row[metric] for row in read_lines(run.path / "metrics.jsonl")[-1:]]
    assert correct == pytest.approx(
        expected * len(test.labels), abs=1
    )  # one that float32 may round differently


@pytest.mark.slow
def test_a_network_without_bn(trained, tmp_path):
    run = trained("experiment=mnist_baseline")
    ((path, difference),) = export(load_trained(run.path), "moving", ["torch"], tmp_path)
    assert path.name == "mnist_baseline.pt2"
    assert difference <= 1e-6
    with pytest.raises(UserError, match=r"statistics=population: .* has no BN; accepted: moving"):
        export(load_trained(run.path), "population", ["torch"], tmp_path)


def test_a_wrong_export_is_not_written(trained, tmp_path, monkeypatch):
    run = trained("experiment=mnist_bn")
    network = load_trained(run.path)
    monkeypatch.setattr(
        module, "fold", lambda model: torch.nn.Sequential(*model.children(), torch.nn.Softplus())
    )
    with pytest.raises(UserError, match=r"mnist_bn\.pt2: not written: on random inputs its logits differ "):
        export(network, "moving", ["torch"], tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_nan_is_not_written(trained, tmp_path):
    network = load_trained(trained("experiment=mnist_bn").path)
    torch.nn.init.constant_(network.model.get_parameter("classifier.bias"), torch.nan)
    with pytest.raises(UserError, match="by inf of the largest"):
        export(network, "moving", ["torch"], tmp_path)
    assert not list(tmp_path.glob("*.pt2"))


def test_a_missing_package_is_one_line(trained, tmp_path, monkeypatch):
    network = load_trained(trained("experiment=mnist_bn").path)
    monkeypatch.setattr(module, "NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(UserError) as error:
        export(network, "moving", ["onnx"], tmp_path)
    assert str(error.value) in (
        f'format=onnx: {name} is not installed: pip install -e ".[onnx]"; accepted without: torch'
        for name in ("onnx", "no_such_package")
    )


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["bn_x5", *slowly("inception", "bn_x5_sigmoid")])
def test_onnx_runtime_computes_the_same(checkpoint, network, tmp_path, experiment):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = checkpoint(experiment)
    written = export(load_trained(path), "moving", ["onnx", "torch"], tmp_path / "out")
    (onnx_path, _), (torch_path, _) = written
    assert [onnx_path.name, torch_path.name] == [f"{experiment}.onnx", f"{experiment}.pt2"]
    model = onnx.load(onnx_path)
    onnx.checker.check_model(model, full_check=True)
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    assert [each.dim_param or each.dim_value for each in dimensions] == ["batch", 3, 14, 14]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    session = runtime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    program = loaded(torch_path)
    original = network(path)
    for batch in (1, 3, 8):
        pixels = torch.randint(256, (batch, 3, 14, 14), generator=torch.Generator().manual_seed(batch))
        images = normalize(pixels.float())
        with torch.no_grad():
            expected = original(images).numpy()
        (found,) = session.run(None, {"images": images.numpy()})
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)
        np.testing.assert_allclose(program(images).detach().numpy(), expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.slow
def test_public_weights(file, tmp_path):  # noqa: F811
    ((path, _),) = export(load_trained(file), "moving", ["torch"], tmp_path / "out")
    assert loaded(path)(torch.zeros(1, 3, 224, 224)).shape == (1, 10)
    with pytest.raises(UserError, match=r"statistics=population: .* accepted with public weights: moving"):
        export(load_trained(file), "population", ["torch"], tmp_path / "out")


@pytest.mark.slow
def test_the_command(trained, tmp_path):
    run = trained("experiment=mnist_bn")

    def command(*arguments):
        done = subprocess.run(
            [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, cwd=tmp_path
        )
        return done.returncode, done.stdout, done.stderr

    code, out, err = command(run.path, "--format", "torch")
    assert (code, err) == (0, "")
    assert out.startswith("export.py: runs/mnist_bn/")
    assert [path.name for path in (run.path / "export").iterdir()] == ["mnist_bn.pt2"]
    code, out, err = command(tmp_path / "nowhere")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"export.py: {tmp_path / 'nowhere'}: cannot be read (No such file or directory); ")
    code, out, err = command(run.path, "--statistics", "both")
    assert (code, out, err.count("\n")) == (2, "", 1)
