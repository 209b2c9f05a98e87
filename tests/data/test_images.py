"""The image loader: data sets, shares of ranks, the probe, and the choice between resident and streamed."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from bn.config import ImageData
from bn.config.notation import checked
from bn.data import images as images_module
from bn.data.resident import Resident
from bn.data.stream import Stream
from bn.errors import UserError
from bn.files import REPOSITORY

NAMES = ("imagenet", "tiny_imagenet", "cifar10", "smoke")


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_data_sets(name):
    path = REPOSITORY / "configs" / "data" / f"{name}.yaml"
    assert path.read_text().startswith("# @package data\n")
    loaded = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(loaded, dict)
    data = checked(ImageData, {str(key): value for key, value in loaded.items()})
    assert data.name == name
    assert data.aspect == 4 / 3
    assert data.crop * 8 == data.resize * 7  # like 224 of 256
    assert (data.distortion, data.shuffle) == ("googlenet", "by_shard")  # the defaults
    if name != "smoke":
        assert data.root in (REPOSITORY / ".gitignore").read_text().splitlines()


def test_smoke_is_the_same_for_all_seeds_and_its_classes_are_balanced(opened):
    first, second = (opened(name="smoke", classes=10, seed=seed, batch=100) for seed in (0, 1))
    for a, b in zip(first.validation(), second.validation(), strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
    labels = torch.cat([first.batch(n).labels for n in range(20)])  # an epoch
    assert len(labels) == 2000
    assert labels.bincount().min() > 180
    assert torch.cat([batch.labels for batch in first.validation()]).bincount().min() > 35


def test_smoke_has_no_folder(make_tree, opened, one_line):
    """Otherwise a run on smoke could be mistaken for one on the images in that folder."""
    root = make_tree()
    with pytest.raises(UserError) as error:
        opened(root, name="smoke")
    assert one_line(error) == f"data.root={root}: data=smoke is generated; accepted: empty"


def test_smoke_is_not_classified_by_mean_colors_or_single_pixels(opened):
    """A linear classifier is near chance."""
    images = opened(name="smoke", classes=10, batch=500)
    batches = [*images.training_examples(2000), *images.validation()]
    x = torch.cat([batch.images.flatten(1) for batch in batches]).double()
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    y = torch.cat([batch.labels for batch in batches])
    train, test = slice(0, 2000), slice(2000, None)
    gram = x[train].T @ x[train] + 1000 * torch.eye(x.shape[1])
    weights = torch.linalg.solve(gram, x[train].T @ torch.nn.functional.one_hot(y[train], 10).double())
    accuracy = ((x[test] @ weights).argmax(1) == y[test]).double().mean()
    assert accuracy < 0.25


@pytest.mark.parametrize("name", ["smoke", "cifar10"])
def test_the_number_of_classes_is_checked_without_a_tree(opened, one_line, tmp_path, name):
    with pytest.raises(UserError) as error:
        opened("" if name == "smoke" else tmp_path / "nowhere", name=name, classes=9)
    assert one_line(error) == f"data.classes=9: data={name} has 10; accepted: 10"


@pytest.mark.parametrize("feed", ["resident", "stream"])
def test_ranks_share_each_mini_batch_and_the_validation_images(make_tree, opened, feed):
    root = make_tree(val=5)
    whole = opened(root, feed=feed, batch=8)
    parts = [opened(root, feed=feed, batch=8, rank=rank, ranks=4) for rank in range(4)]
    for n in range(5):
        shares = [part.batch(n) for part in parts]
        assert [len(share.labels) for share in shares] == [2] * 4
        assert torch.equal(torch.cat([share.images for share in shares]), whole.batch(n).images)
    shares = [batch.images for part in parts for batch in part.validation()]
    assert [len(share) for share in shares] == [3, 3, 2, 2]  # no padding, no duplicates
    assert torch.equal(torch.cat(shares), torch.cat([batch.images for batch in whole.validation()]))


@pytest.mark.parametrize(("count", "sizes"), [(1, [6]), (12, [6, 6]), (13, [6, 6]), (500, [6, 6])])
def test_the_probe_gets_whole_mini_batches_up_to_the_training_set(make_tree, opened, count, sizes):
    images = opened(make_tree(train=8), batch=6)
    batches = list(images.training_examples(count))
    assert [len(batch.labels) for batch in batches] == sizes
    found = {image.numpy().tobytes() for batch in batches for image in batch.images}
    assert len(found) == sum(sizes)


def test_the_probes_examples_are_undistorted_and_independent_of_the_seed(make_tree, opened):
    root = make_tree()
    a, b = (
        opened(root, seed=seed, distortion=strength) for seed, strength in ((0, "googlenet"), (5, "none"))
    )
    for x, y in zip(a.training_examples(16), b.training_examples(16), strict=True):
        assert torch.equal(x.images, y.images)


def test_the_undistorted_validation_images_are_available(make_tree, opened):
    images = opened(make_tree(size=lambda i: (30 + i, 50)), feed="stream")
    assert len(images.dataset) == 6
    assert images.dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [tuple(images.dataset[i].shape) for i in range(6)] == [(3, 46 + i, 50) for i in range(6)]
    assert images.dataset.names[0].endswith("val/cat/016.png")


@pytest.mark.parametrize("size", [(40, 32), (32, 33), (31, 31)])
def test_auto_streams_images_of_other_sizes(make_tree, opened, size):
    images = opened(make_tree(size=lambda i: size), feed="auto")
    assert type(images._source) is Stream
    assert images.batch(0).images.shape == (4, 3, 28, 28)


@pytest.mark.parametrize(("limit", "source"), [(22 * 32 * 32 * 3, Resident), (22 * 32 * 32 * 3 - 1, Stream)])
def test_auto_keeps_small_data_sets_on_the_device(make_tree, opened, monkeypatch, limit, source):
    monkeypatch.setattr(images_module, "RESIDENT_LIMIT", limit)
    assert type(opened(make_tree(), feed="auto")._source) is source


def test_imagenet_streams_and_the_small_sets_do_not():
    imagenet, tiny_imagenet = 1_331_167 * 3 * 256**2, 110_000 * 3 * 64**2
    assert tiny_imagenet <= images_module.RESIDENT_LIMIT == 4 * 1024**3 < imagenet


@pytest.mark.parametrize("feed", ["resident", "stream", "auto"])
@pytest.mark.parametrize("name", ["tiny_imagenet", "cifar10"])
def test_without_training_the_training_images_need_not_exist(make_tree, opened, feed, name):
    root = make_tree()
    expected = [batch.images for batch in opened(root, name=name, feed=feed).validation()]
    shutil.rmtree(root / "train")
    images = opened(root, name=name, feed=feed, steps=0, batch=1)
    assert torch.equal(torch.cat([batch.images for batch in images.validation()]), torch.cat(expected))


def test_without_training_the_validation_classes_are_counted(make_tree, opened, one_line):
    root = make_tree()
    with pytest.raises(UserError) as error:
        opened(root, steps=0, classes=3)
    assert one_line(error) == f"data.classes=3: {root / 'val'} has 2 class folders; accepted: 2"


@pytest.mark.parametrize("name", ["imagenet", "tiny_imagenet"])
def test_a_missing_data_set_names_the_command(opened, one_line, tmp_path, name):
    with pytest.raises(UserError) as error:
        opened(tmp_path / "nowhere", name=name)
    script = f"scripts/prepare_{name}.py"
    assert one_line(error).startswith(f"{tmp_path / 'nowhere' / 'train'}: No such file or directory: ")
    assert f"`python {script} " in str(error.value)
    assert str(error.value).endswith(f" --root {tmp_path / 'nowhere'}`")


class Downloaded:
    """A stub of torchvision's CIFAR10."""

    def __init__(self, root, train, download):
        draw = np.random.default_rng(train)
        self.data = draw.integers(0, 256, (40 if train else 10, 32, 32, 3), np.uint8)
        self.targets = [i % 10 for i in range(len(self.data))]


def test_cifar10_is_downloaded_if_missing(opened, monkeypatch, tmp_path):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", Downloaded)
    images = opened(tmp_path / "cifar10", name="cifar10", classes=10, crop=32, area=1.0)
    assert sum(len(batch.labels) for batch in images.validation()) == 10
    (batch,) = images.validation()
    expected = torch.from_numpy(Downloaded("", False, True).data).permute(0, 3, 1, 2)
    mean = torch.tensor([128.0, 117.0, 104.0])[:, None, None]
    assert torch.allclose(batch.images * 58 + mean, expected.float(), atol=1e-3)
    assert batch.labels.tolist() == list(range(10))


@pytest.mark.parametrize(
    "error", [OSError("no network\nat all"), RuntimeError("File not found"), pickle.UnpicklingError()]
)
def test_a_failed_download_is_one_line(opened, monkeypatch, one_line, tmp_path, error):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fail)
    with pytest.raises(UserError) as caught:
        opened(tmp_path / "cifar10", name="cifar10", classes=10)
    message = one_line(caught)
    assert message.startswith(f"{tmp_path / 'cifar10'}: CIFAR-10 is missing, and the download failed (")
    assert "cifar-10-python.tar.gz" in message


def test_a_tree_of_files_is_preferred_to_the_download(make_tree, opened, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", lambda *args, **options: pytest.fail("downloaded"))
    assert len(opened(make_tree(), name="cifar10").dataset) == 6
