"""The feed of pictures that are on the device, and the file in which they are kept for the next run."""

import fcntl
import io

import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional as TF

from bn.data import pictures
from bn.data.crops import random_boxes
from bn.data.draws import draws
from bn.data.images import CACHE
from bn.data.order import ImageOrder
from bn.data.photometric import distort
from bn.errors import UserError
from bn.run.directory import REPOSITORY
from tests.data.made import encoded, smooth

MEAN, STD = torch.tensor([128.0, 117.0, 104.0])[:, None, None], 58.0


@pytest.mark.parametrize("strength", ["none", "googlenet"])
@pytest.mark.parametrize("feed", ["resident", "stream"])
def test_a_mini_batch_is_what_torchvision_makes_of_its_pictures_one_by_one(make_tree, opened, feed, strength):
    root = make_tree()
    folder = ImageFolder(str(root / "train"))
    images = opened(root, batch=6, seed=3, feed=feed, distortion=strength)
    mirrored = 0
    for n in (0, 1, 5):
        epoch, examples = ImageOrder(16, 6, 3, "complete", 4)(n)
        batch = images.feed(n)
        assert batch.labels.tolist() == [folder.targets[i] for i in examples]
        assert batch.images.dtype == torch.float32
        for image, example in zip(batch.images, examples, strict=True):
            drawn = draws(3, epoch, np.array([example]))
            (box,) = random_boxes(drawn.box, np.array([32]), np.array([32]), 0.08, 4 / 3)
            picture = TF.pil_to_tensor(folder[example][0]).float()
            top, left, height, width = box.tolist()
            expected = TF.resized_crop(picture, top, left, height, width, [28, 28], antialias=True)
            if drawn.mirror[0] < 0.5:
                expected = TF.horizontal_flip(expected)
                mirrored += 1
            expected = (distort(expected[None], drawn.colour, strength)[0] - MEAN) / STD
            # The stream rounds to whole levels, after each direction; strong distortion multiplies that.
            rounded = 0 if feed == "resident" else {"none": 1.01, "googlenet": 4}[strength]
            assert (image - expected).abs().max() * STD < rounded + 2e-3
    assert 3 < mirrored < 15


@pytest.mark.parametrize("crop", [28, 27])
@pytest.mark.parametrize("feed", ["resident", "stream"])
def test_validation_is_every_picture_once_in_order_centrally_cropped(
    make_tree, opened, monkeypatch, feed, crop
):
    root = make_tree(val=5)
    monkeypatch.setattr("bn.data.images.VALIDATION_BATCH", 4)
    batches = list(opened(root, feed=feed, crop=crop).validation())
    assert [len(batch.labels) for batch in batches] == [4, 4, 2]
    folder = ImageFolder(str(root / "val"))
    found = torch.cat([batch.images for batch in batches]) * STD + MEAN
    expected = torch.stack([TF.center_crop(TF.pil_to_tensor(picture), [crop, crop]) for picture, _ in folder])
    assert torch.allclose(found, expected.float(), atol=1e-3)
    assert torch.cat([batch.labels for batch in batches]).tolist() == folder.targets


def test_a_later_run_reads_what_the_first_decoded(make_tree, opened, monkeypatch, tmp_path):
    root = make_tree()
    first = opened(root).feed(0).images
    assert len(list((tmp_path / "cache").iterdir())) == 2
    monkeypatch.setattr(pictures, "open_picture", lambda path: pytest.fail("decoded again"))
    assert torch.equal(opened(root).feed(0).images, first)


def test_what_is_kept_is_not_written_to(make_tree, opened, tmp_path):
    images = opened(make_tree())
    kept = {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    images = opened(tmp_path / "tree")
    for n in range(4):
        images.feed(n).images.zero_()
    images._source._images["train"].zero_()  # even then
    assert {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()} == kept


def test_a_changed_file_is_decoded_again(make_tree, opened):
    root = make_tree(train=2)
    before = opened(root, area=1.0, aspect=1.0).feed(0)
    path = root / "train" / "cat" / "000.png"
    path.write_bytes(encoded(255 - smooth(0)))
    after = opened(root, area=1.0, aspect=1.0).feed(0)
    changed = (before.images != after.images).flatten(1).any(1)
    assert changed.sum() == 1
    assert before.labels[changed].item() == 0


def cached(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").iterdir())


def test_a_writer_removes_what_nobody_uses_any_more(make_tree, opened, tmp_path):
    """Arrays of the same split from before it changed, and parts of a writer that was killed."""
    root, others = make_tree(), ["cifar10-val-32-1.pictures", "tiny_imagenet-val-64-1.pictures"]
    opened(root).close()
    before = cached(tmp_path)
    for name in (*others, "tiny_imagenet-val-32-1.pictures.5"):
        (tmp_path / "cache" / name).touch()
    (root / "val" / "cat" / "016.png").write_bytes(encoded(smooth(99)))
    opened(root)
    train, val = (next(name for name in before if f"-{split}-" in name) for split in ("train", "val"))
    after = cached(tmp_path)
    assert {train, *others} < {*after}
    assert val not in after
    assert len(after) == 4


def test_what_a_run_maps_or_writes_is_left_to_it(make_tree, opened, tmp_path):
    root = make_tree()
    running = opened(root)
    before = {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    part = tmp_path / "cache" / "tiny_imagenet-val-32-1.pictures.5"
    with part.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (root / "val" / "cat" / "016.png").write_bytes(encoded(smooth(99)))
        opened(root)
        assert part.exists()
    assert len(cached(tmp_path)) == 4
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(running.validation())) == 1


DAMAGES = {
    "cut short": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "of another shape": lambda content: encoded_array(np.zeros((3, 3), np.uint8)),
    "longer": lambda content: content + b" ",
    "something else": lambda content: b"something else",
}


def encoded_array(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_decoded_pictures_is_made_anew(make_tree, opened, tmp_path, damage):
    root = make_tree()
    first = opened(root).feed(0).images
    kept = {path: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    for path, content in kept.items():
        path.unlink()
        path.write_bytes(DAMAGES[damage](content))
    assert torch.equal(opened(root).feed(0).images, first)
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_disk_that_cannot_be_written_is_no_error(make_tree, opened, tmp_path, capfd):
    (tmp_path / "cache").write_text("in the way")
    assert opened(make_tree()).feed(0).images.isfinite().all()
    assert (tmp_path / "cache").read_text() == "in the way"
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_is_no_error_and_leaves_no_part(make_tree, opened, tmp_path, monkeypatch):
    def full(file, array):
        file.write(b"a part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert opened(make_tree()).feed(0).images.isfinite().all()
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_picture_of_another_size_is_named(make_tree, opened, one_line, split):
    root = make_tree()
    path = sorted((root / split / "dog").iterdir())[1]
    path.write_bytes(encoded(smooth(9, 40, 50)))
    with pytest.raises(UserError) as error:
        opened(root)
    assert one_line(error).startswith(f"{path}: 50x40 pixels, data.resize=32: ")
    assert "data.feed=stream" in str(error.value)
    assert opened(root, feed="stream").feed(0).images.shape == (4, 3, 28, 28)


def test_the_cache_is_where_git_ignores_it():
    assert str(CACHE.relative_to(REPOSITORY)) in (REPOSITORY / ".gitignore").read_text().splitlines()
