"""An unreadable image ends the run with one line that names it."""

import pytest

from bn.data.image_files import BrokenImage
from bn.errors import UserError
from tests.data.made import encoded, smooth

REASON = "not an image; accepted: BMP, JPEG, PNG, PPM, WEBP"


@pytest.fixture
def broken_tree(make_tree):
    """8 + 8 training and 3 + 3 validation images, one of them damaged: the root, and that image's path."""

    def make(name):
        root = make_tree()
        (root / name).write_bytes(b"this is no image")
        return root, root / name

    return make


TRYING = {
    "train/cat/003.png": (
        lambda images: [images.batch(n) for n in range(4)],  # an epoch
        lambda images: list(images.training_examples(16)),
    ),
    "val/dog/020.png": (lambda images: list(images.validation()),),
}


@pytest.mark.parametrize(("feed", "workers"), [("resident", 0), ("stream", 0), ("stream", 1)])
@pytest.mark.parametrize(("name", "use"), [(name, use) for name, uses in TRYING.items() for use in uses])
def test_it_is_named_in_one_line(broken_tree, opened, one_line, feed, workers, name, use):
    root, path = broken_tree(name)
    with pytest.raises(UserError) as error:
        use(opened(root, feed=feed, workers=workers))
    assert one_line(error) == f"{path}: cannot be read ({REASON}): restore it, or remove it"


def test_the_data_set_is_unchanged_once_the_image_is_restored(broken_tree, opened):
    root, path = broken_tree("train/cat/003.png")
    with pytest.raises(BrokenImage):
        opened(root)
    path.write_bytes(encoded(smooth(3)))
    assert len(opened(root, batch=16).batch(0).labels) == 16


def test_a_stream_reads_only_requested_images(broken_tree, opened):
    root, _ = broken_tree("train/cat/003.png")
    assert sum(len(batch.labels) for batch in opened(root, feed="stream").validation()) == 6
