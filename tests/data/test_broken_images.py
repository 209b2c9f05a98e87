"""Pictures that cannot be read: said once, counted, replaced by others; too many end the run."""

import numpy as np
import pytest
import torch

from bn.errors import UserError
from tests.data.made import encoded, smooth

FEEDS = pytest.mark.parametrize("feed", ["resident", "stream"])


@pytest.fixture
def broken_tree(make_tree):
    """`broken_tree("train/cat/001.png", ...)`: 8 + 8 training, 3 + 3 validation pictures, these damaged."""

    def make(*names):
        root = make_tree()
        for name in names:
            (root / name).write_bytes(b"this is no picture")
        return root

    return make


@FEEDS
def test_a_broken_training_picture_is_said_once_counted_and_replaced(broken_tree, opened, capfd, feed):
    root = broken_tree("train/cat/001.png", "train/dog/010.png")
    images = opened(root, feed=feed, batch=16)
    for n in range(5):
        batch = images.feed(n)
        assert batch.images.shape == (16, 3, 28, 28)
    names = [f"{root}/train/cat/001.png", f"{root}/train/dog/010.png"]
    assert sorted(images.broken) == names
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines) == [
        f"{name}: cannot be read (not an image; accepted: BMP, JPEG, PNG, PPM, WEBP)" for name in names
    ]


@FEEDS
def test_the_replacement_is_another_picture_with_its_own_label_drawn_anew_each_epoch(
    broken_tree, opened, feed
):
    """All pictures show what they are in their mean colour, so that each can be told."""
    root = broken_tree()
    files = sorted((root / "train").glob("*/*"))
    for i, path in enumerate(files):
        path.write_bytes(encoded(np.full((32, 32, 3), 10 * i, np.uint8)))
    for i in (3, 12):
        files[i].write_bytes(b"broken")
    images = opened(root, feed=feed, batch=16)
    stand_ins = []
    for n in range(8):
        batch = images.feed(n)
        shown = ((batch.images * 58).mean((1, 2, 3)) + (128 + 117 + 104) / 3).div(10).round().long().tolist()
        assert batch.labels.tolist() == [i // 8 for i in shown]
        assert not {3, 12} & {*shown}
        extra = sorted(shown)
        for i in {*range(16)} - {3, 12}:
            extra.remove(i)
        stand_ins.append(tuple(extra))
    assert {len(extra) for extra in stand_ins} == {2}
    assert len({*stand_ins}) > 5  # of eight epochs


@FEEDS
def test_the_others_are_what_they_would_be_without_it(broken_tree, make_tree, opened, feed):
    whole = opened(make_tree(name="whole"), feed=feed, batch=16, seed=1).feed(0)
    damaged = opened(broken_tree("train/dog/009.png"), feed=feed, batch=16, seed=1).feed(0)
    same = (whole.images == damaged.images).flatten(1).all(1)
    assert same.sum() == 15
    assert whole.labels[~same].item() == 1


@FEEDS
@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_end_the_run_in_one_line(broken_tree, opened, one_line, feed, workers):
    root = broken_tree("train/cat/000.png", "train/cat/001.png", "train/dog/011.png")

    def run():
        images = opened(root, feed=feed, batch=4, max_broken=2, workers=workers)
        for n in range(4):
            images.feed(n)

    with pytest.raises(UserError) as error:
        run()
    message = one_line(error)
    assert message.startswith("data.max_broken=2: 3 images cannot be read, such as ")
    assert message.split()[-1].startswith(f"{root}/train/")


@FEEDS
def test_as_many_as_are_allowed_do_not(broken_tree, opened, feed):
    root = broken_tree("train/cat/000.png", "train/dog/011.png")
    images = opened(root, feed=feed, batch=4, max_broken=2)
    for n in range(12):
        images.feed(n)
    assert len(images.broken) == 2


@FEEDS
@pytest.mark.parametrize("workers", [0, 1])
def test_none_readable_is_told_and_not_searched_for_ever(broken_tree, opened, one_line, feed, workers):
    root = broken_tree(*(f"train/{'cat' if i < 8 else 'dog'}/{i:03}.png" for i in range(16)))
    with pytest.raises(UserError) as error:
        opened(root, feed=feed, workers=workers, max_broken=5).feed(0)
    assert "data.max_broken=5" in one_line(error)
    with pytest.raises(UserError) as error:
        opened(root, feed=feed, workers=workers, max_broken=100).feed(0)
    assert one_line(error).endswith(" cannot be read, nor any of 100 images drawn in its place")


@FEEDS
def test_a_broken_validation_picture_is_left_out_and_said(broken_tree, opened, capfd, feed):
    root = broken_tree("val/dog/020.png")
    images = opened(root, feed=feed)
    for _ in range(2):
        labels = torch.cat([batch.labels for batch in images.validation()]).tolist()
        assert labels == [0, 0, 0, 1, 1]
    assert images.broken == [f"{root}/val/dog/020.png"]
    assert capfd.readouterr().err.count("020.png: cannot be read") == 1


@FEEDS
def test_the_probe_gets_whole_mini_batches_nevertheless(broken_tree, make_tree, opened, feed):
    whole = torch.cat([b.images for b in opened(make_tree(name="whole"), feed=feed).training_examples(12)])
    damaged = list(opened(broken_tree("train/cat/003.png"), feed=feed).training_examples(12))
    assert [len(batch.labels) for batch in damaged] == [4, 4, 4]
    kept = {image.numpy().tobytes() for image in whole}
    assert sum(image.numpy().tobytes() in kept for batch in damaged for image in batch.images) >= 11


@FEEDS
def test_a_probe_without_one_whole_mini_batch_is_told(broken_tree, opened, one_line, feed):
    root = broken_tree("train/cat/003.png")
    with pytest.raises(UserError) as error:
        next(opened(root, feed=feed, batch=16).training_examples(4))
    expected = f"data.root={root}: fewer training images can be read than a mini-batch has (16)"
    assert one_line(error) == expected
    (batch,) = opened(root, feed=feed, batch=15).training_examples(4)
    assert len(batch.labels) == 15


@FEEDS
def test_validation_pictures_of_which_none_can_be_read(broken_tree, opened, one_line, monkeypatch, feed):
    """Else a run would end with an accuracy that is not a number."""
    names = [f"val/{'cat' if i < 19 else 'dog'}/{i:03}.png" for i in range(16, 22)]
    monkeypatch.setattr("bn.data.images.VALIDATION_BATCH", 2)
    root = broken_tree(*names)
    with pytest.raises(UserError) as error:
        list(opened(root, feed=feed, max_broken=6).validation())
    assert one_line(error) == f"data.root={root}: none of the validation images can be read"
    (root / names[-1]).write_bytes(encoded(smooth(21)))
    (batch,) = opened(root, feed=feed, max_broken=6).validation()  # and none that is empty
    assert batch.labels.tolist() == [1]


def test_the_count_survives_the_end_of_a_process(broken_tree, opened, capfd):
    root = broken_tree("train/cat/000.png", "train/cat/001.png", "train/dog/011.png")
    first = opened(root, feed="stream", batch=16, max_broken=3)
    first.feed(0)
    state = first.state_dict()
    assert len(state["broken"]) == 3
    capfd.readouterr()
    later = opened(root, feed="stream", batch=16, max_broken=3)
    later.load_state_dict(state)
    later.feed(1)
    assert later.broken == state["broken"]
    assert capfd.readouterr().err == ""  # it has been said
    (root / "train/cat/002.png").unlink()
    with pytest.raises(UserError, match=r"data\.max_broken=3: 4 images"):
        later.feed(2)


@FEEDS
def test_a_run_that_goes_on_says_only_what_is_new(broken_tree, opened, capfd, feed):
    """It makes the probe's mini-batches before it knows what has been said."""
    root = broken_tree("train/cat/000.png", "train/dog/011.png", "val/cat/016.png")

    def start(state=None):
        images = opened(root, feed=feed, batch=13, max_broken=4)
        assert len(list(images.training_examples(13))) == 1
        if state is not None:
            images.load_state_dict(state)
        for n in range(4):
            images.feed(n)
        assert len(list(images.validation())) == 1
        said = [line.split(":")[0] for line in capfd.readouterr().err.splitlines()]
        assert {*said} <= {*images.broken}
        return images.state_dict(), sorted(path.removeprefix(f"{root}/") for path in said)

    state, said = start()
    assert said == ["train/cat/000.png", "train/dog/011.png", "val/cat/016.png"]
    assert start(state) == (state, [])
    (root / "train/cat/005.png").write_bytes(b"")
    assert start(state)[1] == ["train/cat/005.png"]


def test_a_broken_picture_that_is_mended_is_decoded(broken_tree, opened):
    root = broken_tree("train/cat/003.png")
    images = opened(root)
    images.feed(0)
    assert images.broken == [f"{root}/train/cat/003.png"]
    (root / "train/cat/003.png").write_bytes(encoded(smooth(3)))
    images = opened(root)
    images.feed(0)
    assert images.broken == []
