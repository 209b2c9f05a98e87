"""A `data.root` that does not match the config is refused with one accurate line; nothing is created."""

import gzip
import os

import pytest
import torchvision

from bn.config.idx_sets import IDX_SETS
from bn.data.mnist import load_mnist
from bn.errors import UserError
from bn.files import REPOSITORY
from tests.conftest import last_of, slowly
from tests.data.made import encoded, smooth

REAL = REPOSITORY / "data" / "mnist"
FILES = tuple(IDX_SETS["mnist"].sha256)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    for name, below in (("MNIST", "MNIST/raw"), ("FashionMNIST", "FashionMNIST/raw"), ("CIFAR10", "")):

        def refuse(root, below=below, **_):
            (REPOSITORY / root / below).mkdir(
                parents=True, exist_ok=True
            )  # as torchvision does before a download
            raise OSError(101, "Network is unreachable")

        monkeypatch.setattr(torchvision.datasets, name, refuse)


@pytest.fixture(scope="module")
def contents():
    return {name: gzip.decompress((REAL / f"{name}.gz").read_bytes()) for name in FILES}


def copied(root, contents, changed):
    root.mkdir()
    for name, content in {**contents, **changed}.items():
        if content is not None:
            (root / name).write_bytes(content)


def in_the_way(make):
    def prepare(root, contents):
        copied(root, contents, {FILES[1]: None})
        make(root / FILES[1])

    return prepare


ROOTS = {
    "no folder": lambda root, _: None,
    "a file": lambda root, _: root.write_text(""),
    "a link to nothing": lambda root, _: root.symlink_to("nowhere"),
    "an empty folder": lambda root, _: root.mkdir(),
    "a folder of other things": lambda root, _: copied(root, {"notes.txt": b"notes"}, {}),
    **{f"{name} alone is missing": lambda root, contents, n=name: copied(root, contents, {n: None})
       for name in FILES},
    **{f"{name} is empty": lambda root, contents, n=name: copied(root, contents, {n: b""}) for name in FILES},
    "the test's labels are the training's": lambda root, contents: copied(
        root, contents, {FILES[3]: contents[FILES[1]]}
    ),
    "a pipe": in_the_way(os.mkfifo),
    "a folder of a file's name": in_the_way(lambda path: path.mkdir()),
    "a device": in_the_way(lambda path: path.symlink_to("/dev/zero")),
}  # fmt: skip


def everything(folder):
    return sorted(str(path) for path in folder.rglob("*") if "unpacked" not in (path.name, path.parent.name))


@pytest.mark.parametrize("kind", [*list(ROOTS)[:4], *slowly(*list(ROOTS)[4:])])
def test_a_wrong_root_is_refused_and_nothing_is_created(tmp_path, contents, kind):
    root = tmp_path / "set"
    ROOTS[kind](root, contents)
    before = everything(tmp_path)
    with pytest.raises(UserError) as error:
        load_mnist(root)
    line = str(error.value)
    assert "\n" not in line
    assert str(root) in line
    assert f"git checkout -- {tmp_path}" not in line
    assert everything(tmp_path) == before


def test_the_files_of_another_set(tmp_path, contents):
    copied(tmp_path / "set", contents, {})
    with pytest.raises(UserError) as error:
        load_mnist(tmp_path / "set", name="fashion_mnist")
    assert str(error.value).startswith(f"{tmp_path / 'set' / FILES[0]}: damaged, or from another data set (")


def tree(root, train=("a", "b"), val=("a", "b"), images=2):
    for split, classes in (("train", train), ("val", val)):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for i in range(images):
                (root / split / name / f"{i}.png").write_bytes(encoded(smooth(i)))


MNIST = ("experiment=mnist_bn",)
SMOKE = ("experiment=bn_x5", "scale=smoke")
ON_A_TREE = (*SMOKE, "data=cifar10", "data.classes=2", "optim.batch=2", "model.norm=batch")
INCEPTION = ("experiment=bn_x5",)
NO_FOLDER = "data.root={}/none: no such folder: "
NO_TREE = "{}/none/train: No such file or directory: "
REFUSED = {
    "no MNIST": ((*MNIST, "data.root={}/none"), NO_FOLDER),
    "no Fashion-MNIST": ((*MNIST, "data=fashion_mnist", "data.root={}/none"), NO_FOLDER),
    "smoke of 7 classes": ((*SMOKE, "data.classes=7"), "data.classes=7: data=smoke has 10; accepted: 10"),
    "smoke in a folder": (
        (*SMOKE, "data.root={}"),
        "data.root={}: data=smoke is generated; accepted: empty",
    ),
    "smoke in one mini-batch": (
        (*SMOKE, "optim.batch=2048"),
        "optim.batch=2048: accepted: at most the 2000 training examples",
    ),
    "smoke less too many": (
        (*SMOKE, "data.validation=1984"),
        "optim.batch=32: accepted: at most the 16 training examples",
    ),
    "smoke less all": (
        (*SMOKE, "data.validation=2000"),
        "data.validation=2000: accepted: fewer than the 2000 training images",
    ),
    "no tree": ((*INCEPTION, "scale=tiny_imagenet", "data.root={}/none"), NO_TREE),
    "no ImageNet": ((*INCEPTION, "scale=imagenet", "data.root={}/none"), NO_TREE),
    "CIFAR-10 of 7 classes": (
        (*INCEPTION, "scale=cifar10", "data.classes=7", "data.root={}/none"),
        "data.classes=7: data=cifar10 has 10; accepted: 10",
    ),
    "a tree of 2 classes": (
        (*ON_A_TREE, "data.root={}/tree", "data.classes=3"),
        "data.classes=3: {}/tree/train has 2 class folders; accepted: 2",
    ),
    "a tree of fewer images": (
        (*ON_A_TREE, "data.root={}/tree", "optim.batch=5"),
        "optim.batch=5: accepted: at most the 4 training examples",
    ),
    "a class without images": (
        (*ON_A_TREE, "data.root={}/empty"),
        "{}/empty/train/a: a class folder without images",
    ),
    "other validation classes": (
        (*ON_A_TREE, "data.root={}/other"),
        "{}/other/train/b: no such class folder in {}/other/val",
    ),
}


@pytest.fixture
def trees(tmp_path):
    folder = tmp_path / "data"
    tree(folder / "tree")
    tree(folder / "empty", images=0)
    tree(folder / "other", val=("a", "c"))
    return folder


@pytest.mark.parametrize("sweep", [False, True], ids=["run", "sweep"])
@pytest.mark.parametrize("case", [*list(REFUSED)[:2], *slowly(*list(REFUSED)[2:])])
def test_refused_once_before_a_run_directory_is_created(cli, trees, tmp_path, snapshot, case, sweep):
    arguments, expected = REFUSED[case]
    given = [argument.format(trees) for argument in arguments]
    before = snapshot(tmp_path)
    more = ("-m", "seed=0,1,2") if sweep else ()
    code, _, err = cli(*more, *last_of(*given), f"output={tmp_path}/runs")
    assert code == 1
    assert err.startswith(f"train.py: {expected.format(trees, trees)}")
    assert err.count("\n") == 1
    assert snapshot(tmp_path) == before


DOWNLOADS = {
    "CIFAR-10": ("experiment=bn_x5", "scale=cifar10", "data.root={}/new/cifar10"),
    "Fashion-MNIST": ("experiment=mnist_bn", "data=fashion_mnist"),
}


@pytest.mark.parametrize("seeds", ["0", "0,1", "0,1,2"])
@pytest.mark.parametrize("name", DOWNLOADS)
def test_a_failed_download_is_reported_once_and_leaves_nothing(
    cli, trees, tmp_path, monkeypatch, name, seeds
):
    """For any number of sweep members, and before the first starts."""
    monkeypatch.setattr("bn.data.availability.REPOSITORY", tmp_path)  # where Fashion-MNIST would be stored
    tries = []
    for dataset in ("CIFAR10", "FashionMNIST"):
        refuse = getattr(torchvision.datasets, dataset)
        counted = lambda *args, refuse=refuse, **rest: (tries.append(1), refuse(*args, **rest))  # noqa: E731
        monkeypatch.setattr(torchvision.datasets, dataset, counted)
    given = [argument.format(trees) for argument in DOWNLOADS[name]]
    before = sorted(tmp_path.rglob("*"))
    sweep = ("-m", f"seed={seeds}", "hydra/launcher=basic") if "," in seeds else ()
    code, _, err = cli(*sweep, *given, f"output={tmp_path}/runs")
    assert (code, len(tries)) == (1, 1)
    assert "missing, and the download failed (" in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
