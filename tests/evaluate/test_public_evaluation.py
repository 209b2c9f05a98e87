"""Evaluation of public BN-Inception weights on a tree of images."""

import pytest
import torch

from bn.errors import UserError
from bn.models.inception import inception
from bn.models.pretrained import from_public

CLASSES = 10


@pytest.fixture(scope="module")
def public():
    """Weights in the public layout, of one of our networks with statistics from random images."""
    model = inception(
        CLASSES, norm="batch", stem="dense", pool_proj=128, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
        model.classifier.weight *= 30
    state = {}
    for key, value in model.state_dict().items():
        stem = {"conv1": "conv1_7x7_s2", "conv2_reduce": "conv2_3x3_reduce", "conv2": "conv2_3x3"}
        unit, _, rest = key.rpartition(".conv." if ".conv." in key else ".norm.")
        name = stem.get(unit) or unit.replace(".conv_", "_").replace(".", "_")
        if key.startswith("classifier"):
            state[key.replace("classifier", "last_linear")] = value
        elif ".conv." in key:
            state[f"{name}.weight"] = value
            state[f"{name}.bias"] = torch.full((len(value),), 0.25)
        else:
            state[f"{name}_bn.{rest}"] = value
    return state


@pytest.fixture
def file(public, tmp_path):
    torch.save(public, tmp_path / "bn_inception.pth")
    return tmp_path / "bn_inception.pth"


@pytest.fixture
def data(on_tree):
    """A complete data config, as data=cifar10 on the command line gives it."""
    return on_tree() | {
        "classes": CLASSES, "resize": 16, "crop": 14, "area": 0.08, "aspect": 4 / 3, "distortion": "none",
        "shuffle": "complete", "shard_size": 8, "feed": "auto", "workers": 0,
    }  # fmt: skip


def test_public_weights(public, file, data, evaluate, images_of, probabilities_of, tmp_path):
    record = evaluate(file, data=data)
    model = from_public(public)
    images, labels = images_of(tmp_path / "images")
    expected = probabilities_of(model, images, lambda image: image[None, :, 1:15, 1:15])
    torch.testing.assert_close(record["probabilities"][:, 0], expected, rtol=0, atol=1e-4)
    assert record["top1_correct"] == int((expected.argmax(1) == labels).sum())
    (network,) = record["checkpoints"]
    assert (network["name"], network["step"], network["config"]) == ("bn_inception", None, None)
    assert record["line"].startswith("bn_inception on 20 images of cifar10; top-1 error ")


def test_an_ensemble_with_one_of_our_checkpoints(file, data, evaluate, checkpoint):
    record = evaluate(file, checkpoint(), data=data)
    assert [each["name"] for each in record["checkpoints"]] == ["bn_inception", "bn_x5"]
    assert record["models"] == 2


def test_data_are_required(file, evaluate):
    with pytest.raises(UserError, match=r"^data: required with public weights such as .*bn_inception\.pth"):
        evaluate(file)


def test_only_the_statistics_in_the_file_can_be_used(file, data, evaluate):
    with pytest.raises(UserError, match=r"^statistics=population: .*accepted with public weights: moving"):
        evaluate(file, data=data, statistics="population")


def test_another_number_of_classes(file, data, evaluate):
    with pytest.raises(UserError, match=r"^data\.classes=9: .*bn_inception\.pth has 10 classes"):
        evaluate(file, data=data | {"classes": 9})
