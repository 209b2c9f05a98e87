"""End-to-end evaluations, against a computation image by image and against the training's own."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from bn.config import ImageData, config_from
from bn.data.images import Plan, open_loader
from bn.data.smoke import TRAIN, smoke_images
from bn.errors import UserError
from bn.evaluate.crops import multicrop
from bn.norm import population_statistics
from bn.run.checkpoint import save_checkpoint
from bn.run.directory import read_lines
from tests.conftest import slowly


def central(image):
    """(3,16,16) -> (1,3,14,14)."""
    return image[None, :, 1:15, 1:15]


def crops144(image):
    return multicrop(image, 16, 14)


def correct(probabilities, labels):
    ranked = probabilities.argsort(1, descending=True)
    hits = ranked == labels[:, None]
    return int(hits[:, 0].sum()), int(hits[:, :5].any(1).sum())


@pytest.mark.parametrize(("crops", "crops_of", "each"), [(1, central, 2), (144, crops144, 1)])
def test_one_network(
    checkpoint, evaluate, on_tree, network, images_of, probabilities_of, tmp_path, crops, crops_of, each
):
    path, data = checkpoint(), on_tree(each=each)
    record = evaluate(path, data=data, crops=crops)
    images, labels = images_of(tmp_path / "images")
    expected = probabilities_of(network(path), images, crops_of)
    assert expected.std(0).min() > 1e-3  # images differ
    torch.testing.assert_close(record["probabilities"][:, 0], expected, rtol=0, atol=1e-5)
    assert (record["top1_correct"], record["top5_correct"]) == correct(expected, labels)
    assert (record["n"], record["crops"], record["models"]) == (10 * each, crops, 1)


@pytest.mark.slow
def test_an_ensemble_is_the_mean_of_class_probabilities(
    checkpoint, evaluate, on_tree, network, images_of, probabilities_of, tmp_path
):
    """Section 4.2.3. Networks with and without BN may be combined."""
    networks = ("bn_x5", "bn_x30", "inception")
    paths = [checkpoint(experiment, seed=i, classes=6) for i, experiment in enumerate(networks)]
    record = evaluate(*paths, data=on_tree(each=1, classes=range(6)), crops=144)
    images, labels = images_of(tmp_path / "images")
    members = [probabilities_of(network(path), images, crops144) for path in paths]
    mean = torch.stack(members).mean(0)
    torch.testing.assert_close(record["probabilities"][:, 0], mean, rtol=0, atol=1e-5)
    assert (record["top1_correct"], record["top5_correct"]) == correct(mean, labels)
    assert record["models"] == 3
    for each, expected in zip(record["checkpoints"], members, strict=True):
        assert (each["top1_correct"], each["top5_correct"]) == correct(expected, labels)


@pytest.mark.slow
def test_it_agrees_with_the_training_log(trained, evaluate):
    """The same images, and the same mini-batches for Algorithm 2."""
    run = trained(
        "experiment=bn_x30", "scale=smoke", "model.width=0.1", "steps=2", "probe.layers=[]",
        "evaluate.at.early=[]", "probe.at.early=[]", "evaluate.population_batches=3",
    )  # fmt: skip
    last = read_lines(run.path / "metrics.jsonl")[-1]
    labels = torch.from_numpy(smoke_images()[1][TRAIN:])
    for statistics, suffix in (("moving", ""), ("population", "_population")):
        record = evaluate(run.path, statistics=statistics)
        assert (record["n"], record["statistics"]) == (500, statistics)
        for key, name in (("top1_correct", "accuracy"), ("top5_correct", "accuracy_top5")):
            assert record[key] == pytest.approx(last[f"validation/{name}{suffix}"] * 500)
        loss = -record["probabilities"][torch.arange(500), 0, labels].log().mean()
        assert loss == pytest.approx(last[f"validation/loss{suffix}"], rel=1e-6)
    assert last["validation/loss"] != pytest.approx(last["validation/loss_population"], rel=1e-4)


def test_population_statistics_use_the_next_training_mini_batches(
    checkpoint, evaluate, on_tree, network, images_of, probabilities_of, tmp_path
):
    """32 training examples each, following the checkpoint; the evaluation data may differ."""
    path = checkpoint()
    record = evaluate(path, data=on_tree(each=4) | {"shard_size": 40}, statistics="population")
    model = network(path)
    own = config_from(torch.load(path, weights_only=True)["config"]).data
    assert isinstance(own, ImageData)
    root = str(tmp_path / "images")
    data = dataclasses.replace(own, name="cifar10", root=root, shard_size=40)
    batch = open_loader(data, Plan(steps=10, batch=32, seed=0, first=7), torch.device("cpu")).batch
    population_statistics(model, [batch(n).images for n in (7, 8, 9)])
    images, _ = images_of(tmp_path / "images")
    expected = probabilities_of(model, images, central)
    torch.testing.assert_close(record["probabilities"][:, 0], expected, rtol=0, atol=1e-4)
    assert (probabilities_of(network(path), images, central) - expected).abs().max() > 0.01


@pytest.mark.slow
def test_population_statistics_use_the_shares_of_the_training_processes(
    checkpoint, evaluate, network, tmp_path, probabilities_of
):
    """Without groups, each of two processes normalized 16 of the 32 examples."""
    state = torch.load(checkpoint(), weights_only=True)
    state["config"]["model"]["norm"] = "batch"
    state["ranks"] = {"losses": torch.zeros(2, 1)}
    path = tmp_path / "by_two.pt"
    torch.save(state, path)
    record = evaluate(path, statistics="population")
    model = network(path)
    data = config_from(state["config"]).data
    assert isinstance(data, ImageData)
    images = open_loader(data, Plan(steps=10, batch=32, seed=0, first=7), torch.device("cpu"))
    population_statistics(model, [share for n in (7, 8, 9) for share in images.batch(n).images.split(16)])
    with torch.no_grad():
        expected = torch.cat([model(x).double().softmax(1) for x, _ in images.validation()])
    torch.testing.assert_close(record["probabilities"][:, 0], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("feed", ["auto", *slowly("stream")])
def test_images_of_any_size(checkpoint, evaluate, on_tree, network, probabilities_of, tmp_path, feed):
    """Landscapes, portraits and squares are streamed, like ImageNet."""
    data = on_tree(each=1, classes=range(6)) | {"feed": feed, "workers": 0}
    sizes = [(33, 20), (18, 25), (40, 17), (16, 16), (19, 19), (17, 39)]
    originals = []
    for path, size in zip(sorted((tmp_path / "images" / "val").glob("*/*.png")), sizes, strict=True):
        Image.open(path).resize(size).save(path)
        originals.append(torch.from_numpy(np.array(Image.open(path)).transpose(2, 0, 1)))
    path = checkpoint(classes=6)
    record = evaluate(path, data=data, crops=144)
    expected = probabilities_of(network(path), originals, crops144)
    torch.testing.assert_close(record["probabilities"][:, 0], expected, rtol=0, atol=1e-5)
    single = evaluate(path, data=data)
    expected = probabilities_of(
        network(path), originals, lambda image: tv.center_crop(tv.resize(image, [16]), [14])[None]
    )
    torch.testing.assert_close(single["probabilities"][:, 0], expected, rtol=0, atol=0.05)


@pytest.mark.slow
def test_the_batch_size_does_not_matter(checkpoint, evaluate, on_tree, tmp_path):
    path, data = checkpoint(), on_tree(each=1)
    one = evaluate(path, data=data, crops=144, batch=37, output=str(tmp_path / "one"))
    other = evaluate(path, data=data, crops=144, batch=1000, output=str(tmp_path / "other"))
    torch.testing.assert_close(one["probabilities"], other["probabilities"], rtol=0, atol=1e-6)


def test_bf16_is_used_if_requested(checkpoint, evaluate, on_tree):
    path, data = checkpoint(), on_tree(each=1)
    exact, rounded = (evaluate(path, data=data, precision=each) for each in ("float32", "bf16"))
    difference = (exact["probabilities"] - rounded["probabilities"]).abs().max()
    assert 1e-6 < difference < 0.1
    assert (exact["precision"], rounded["precision"]) == ("float32", "bf16")


@pytest.mark.parametrize("crops", [1, 144])
def test_a_broken_image_is_named(checkpoint, evaluate, on_tree, tmp_path, crops):
    data = on_tree(each=1)
    broken = sorted((tmp_path / "images" / "val").glob("*/*.png"))[3]
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UserError, match=f"^{broken}: cannot be read"):
        evaluate(checkpoint(), data=data, crops=crops)


def test_non_finite_probabilities_are_wrong_and_reported(checkpoint, evaluate, on_tree):
    path = checkpoint()
    state = torch.load(path, weights_only=True)
    state["model"]["classifier.bias"][0] = float("nan")
    state["step"] = 8
    record = evaluate(save_checkpoint(path.parent, 8, state), data=on_tree(each=1))
    assert (record["n"], record["top1_correct"], record["top5_correct"], record["not_finite"]) == (
        10,
        0,
        0,
        10,
    )
    assert "10 images have NaN or infinite probabilities and count as wrong" in record["line"]
