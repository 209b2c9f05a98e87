"""Evaluations that are refused: one line that names the file or key, and no record."""

import re

import pytest
import torch

from bn import cli
from bn.config import to_dict
from bn.errors import UserError
from bn.models.build import build_model
from bn.models.inception import inception
from bn.run.checkpoint import save_checkpoint


@pytest.fixture
def refused(evaluate, tmp_path):
    """The error line of a refused evaluation, without the test's folder."""

    def line(*paths, **choices):
        with pytest.raises(UserError) as error:
            evaluate(*paths, **choices)
        assert not (tmp_path / "evaluations").exists()
        text = str(error.value)
        assert "\n" not in text
        return re.sub(r"step_0+(\d+)\.\w{16}", r"step_\1", text.replace(f"{tmp_path}/", ""))

    return line


def test_a_missing_file(refused, tmp_path):
    assert refused(tmp_path / "none.pt") == (
        "none.pt: cannot be read (No such file or directory); accepted: a run directory or a checkpoint"
    )


def test_a_directory_without_checkpoints(refused, tmp_path):
    (tmp_path / "run").mkdir()
    assert refused(tmp_path / "run") == (
        "run: no checkpoint in run/checkpoints; accepted: a run directory, or a file"
    )


def test_a_damaged_checkpoint(refused, checkpoint):
    path = checkpoint()
    content = bytearray(path.read_bytes())
    content[5000] ^= 0x80
    path.write_bytes(content)
    expected = "bn_x5-0-10/checkpoints/step_7.pt: damaged (its checksum is not the one in its name)"
    assert refused(path) == expected
    assert refused(path.parents[1]) == expected


@pytest.mark.parametrize("content", [b"", b"some text\n" * 100, b"PK\x03\x04 cut short"])
def test_a_file_of_another_kind(refused, tmp_path, content):
    (tmp_path / "notes.pt").write_bytes(content)
    assert refused(tmp_path / "notes.pt") == (
        "notes.pt: neither a checkpoint nor weights that torch can load"
    )


def test_a_file_that_would_execute_code(refused, tmp_path):
    torch.save({"model": torch.nn.Linear(1, 1)}, tmp_path / "pickled.pt")
    assert refused(tmp_path / "pickled.pt").startswith("pickled.pt: neither a checkpoint nor weights")


@pytest.mark.parametrize("saved", [[1, 2], {3: torch.zeros(1)}])
def test_no_state_dict(refused, tmp_path, saved):
    torch.save(saved, tmp_path / "saved.pt")
    assert refused(tmp_path / "saved.pt") == "saved.pt: neither a checkpoint nor weights that torch can load"


def test_weights_of_another_network(refused, tmp_path):
    torch.save(inception(10, width=0.125).state_dict(), tmp_path / "ours.pt")
    assert refused(tmp_path / "ours.pt").startswith(
        "ours.pt: not BN-Inception weights in the layout of pretrainedmodels: missing or of another shape: "
        "last_linear.weight, "
    )


def test_weights_that_do_not_fit_the_config(refused, checkpoint):
    path = checkpoint()
    state = torch.load(path, weights_only=True)
    del state["model"]["classifier.bias"]
    state["step"] = 8
    assert refused(save_checkpoint(path.parent, 8, state)) == (
        "bn_x5-0-10/checkpoints/step_8.pt: its weights do not fit the network in its config"
    )


@pytest.mark.parametrize("step", ["absent", None, "8", 8.0, True, [8]])
def test_a_checkpoint_without_a_valid_step(refused, checkpoint, step):
    path = checkpoint()
    state = torch.load(path, weights_only=True)
    state["step"] = step
    if step == "absent":
        del state["step"]
    assert refused(save_checkpoint(path.parent, 8, state)) == (
        "bn_x5-0-10/checkpoints/step_8.pt: not a checkpoint of step 8"
    )
    renamed = path.with_name("renamed.pt")
    torch.save(state, renamed)
    assert refused(renamed) == (
        "bn_x5-0-10/checkpoints/renamed.pt: a checkpoint without step or config; "
        "accepted: one that train.py wrote"
    )


@pytest.mark.parametrize("crop", [-1, 0, 1, 3, 7, 10**9])
def test_an_invalid_crop(refused, checkpoint, crop):
    assert refused(checkpoint(), data={"crop": crop}) == f"data.crop={crop}: accepted: int >= 8, <= 4096"


def test_an_mnist_network(refused, tmp_path):
    config = cli.planned_run(["experiment=mnist_bn"]).config
    state = {"step": 1, "config": to_dict(config), "model": build_model(config).state_dict()}
    path = save_checkpoint(tmp_path / "checkpoints", 1, state)
    assert refused(path) == (
        "checkpoints/step_1.pt: a network for mnist; accepted: networks for images (the run's metrics.jsonl "
        "has the accuracies with both kinds of statistics)"
    )


def test_networks_of_different_classes(refused, checkpoint, on_tree):
    ten, five = checkpoint(), checkpoint(classes=5)
    assert refused(ten, five, data={"resize": 16}) == (
        "data.classes: 10 in bn_x5-0-10/checkpoints/step_7.pt, 5 in bn_x5-0-5/checkpoints/step_7.pt; "
        "accepted: networks with the same data, or one choice for all of them (data=..., data.root=...)"
    )
    assert refused(ten, five, data={**on_tree(), "classes": 10}) == (
        "data.classes=10: bn_x5-0-5/checkpoints/step_7.pt has 5 classes"
    )


@pytest.mark.parametrize("key", ["resize", "crop", "name", "root"])
def test_networks_on_different_data(refused, checkpoint, key):
    other = {"resize": 18, "crop": 12, "name": "cifar10", "root": "elsewhere"}[key]
    line = refused(checkpoint(), checkpoint(seed=1, **{key: other}))
    assert re.match(
        rf"data\.{key}: \S* in bn_x5-0-10/\S+, {other} in bn_x5-1-10/\S+; accepted: networks with", line
    )


def test_a_network_twice(refused, checkpoint):
    path = checkpoint()
    assert refused(path, path.parents[1]) == (
        "checkpoint: bn_x5-0-10/checkpoints/step_7.pt and bn_x5-0-10/checkpoints/step_7.pt are the same "
        "network; accepted: each network once"
    )


def test_missing_data(refused, checkpoint):
    line = refused(checkpoint(), data={"name": "cifar10", "root": "/nowhere", "feed": "resident"})
    assert line.startswith("/nowhere")


def test_a_crop_larger_than_the_image(refused, checkpoint):
    assert refused(checkpoint(), data={"crop": 17}) == "data.crop=17: accepted: at most data.resize=16"


def test_data_of_another_type(refused, checkpoint):
    assert refused(checkpoint(), data={"crop": "large"}) == "data.crop='large': accepted: int >= 8, <= 4096"


def test_population_statistics_of_a_network_without_bn(refused, checkpoint):
    assert refused(checkpoint("inception"), statistics="population") == (
        "statistics=population: inception-0-10/checkpoints/step_7.pt has no BN; accepted: moving"
    )


def test_per_activation_bn_at_another_size(refused, checkpoint):
    path = checkpoint()
    state = torch.load(path, weights_only=True)
    state["config"]["model"]["per_activation"] = ["5b"]
    built = inception(
        10, norm="ghost", width=0.125, stem_stride=1, stem_pools=1, per_activation=("5b",), size=14
    )
    state["model"] = built.state_dict()
    state["step"] = 8
    line = refused(save_checkpoint(path.parent, 8, state), data={"crop": 12})
    assert line == "data.crop=12: bn_x5-0-10/checkpoints/step_8.pt has per-activation BN; accepted: 14"
