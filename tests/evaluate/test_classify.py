"""evaluate.py images=...: one line per image, with the probabilities of an evaluation."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from bn.config import ImageData
from bn.data.smoke import smoke_images
from bn.evaluate.classify import class_names
from bn.evaluate.crops import multicrop
from tests.conftest import slowly
from tests.evaluate.conftest import smoke_config
from tests.evaluate.test_public_evaluation import file, public  # noqa: F401  # fixtures


@pytest.fixture
def photos(tmp_path):
    """A folder and a subfolder with three images of different sizes and a text file."""
    images, _ = smoke_images()
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, size in {"b.png": (32, 32), "a.bmp": (48, 20), "more/c.JPG": (17, 40)}.items():
        Image.fromarray(images[len(name)].transpose(1, 2, 0)).resize(size).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def command(in_process, tmp_path):
    """Run `evaluate.py` with these arguments in this process: exit code, stdout, stderr."""
    output = f"output={tmp_path / 'evaluations'}"
    return lambda *arguments: in_process("evaluate.py", *arguments, "device=cpu", "threads=1", output)


def parsed(out):
    """The image of each line, and its probabilities by class name."""
    found = []
    for line in out.splitlines():
        image, _, rest = line.partition(": ")
        shares = [part.rpartition(" ") for part in rest.split(", ")]
        assert [share for *_, share in shares] == sorted((share for *_, share in shares), key=percent)[::-1]
        found.append((image, {name: percent(share) for name, _, share in shares}))
    return found


def percent(share):
    assert share.endswith("%")
    return float(share[:-1])


def assert_shares(found, expected):
    """Compare percentages to the displayed digit."""
    assert len(found) == 10
    for k, share in enumerate(expected.tolist()):
        assert found[f"class {k}"] == pytest.approx(100 * share, abs=0.0501)


def test_one_line_per_image_sorted_by_name(command, checkpoint, photos, tmp_path):
    code, out, err = command(f"checkpoint={checkpoint()}", f"images={photos}", "top=3")
    assert (code, err) == (0, "")
    answers = parsed(out)
    assert [image for image, _ in answers] == [
        str(photos / name) for name in ("a.bmp", "b.png", "more/c.JPG")
    ]
    assert [len(shares) for _, shares in answers] == [3, 3, 3]
    assert not (tmp_path / "evaluations").exists()  # no evaluation took place


def test_json(command, checkpoint, photos):
    path = checkpoint()
    _, lines, _ = command(f"checkpoint={path}", f"images={photos}", "top=3")
    code, out, err = command(f"checkpoint={path}", f"images={photos}", "--json", "top=3")
    assert (code, err) == (0, "")
    for line, answer in zip(lines.splitlines(), map(json.loads, out.splitlines()), strict=True):
        shown = [(f"class {each['class']}", each["probability"], each["name"]) for each in answer["classes"]]
        assert line == f"{answer['image']}: {', '.join(f'{k} {100 * share:.1f}%' for k, share, _ in shown)}"
        assert [name for *_, name in shown] == [None] * 3


@pytest.mark.parametrize("crops", [1, *slowly(144)])
def test_the_probabilities_equal_an_evaluations(
    command, evaluate, checkpoint, on_tree, images_of, tmp_path, crops
):
    """For an ensemble, with a batch size that does not divide the crops of an image."""
    paths = [checkpoint(seed=seed) for seed in (0, 1)]
    record = evaluate(*paths, data=on_tree(each=1) | {"feed": "stream"}, crops=crops)
    code, out, err = command(
        f"checkpoint=[{paths[0]},{paths[1]}]", f"images={tmp_path / 'images' / 'val'}", "top=10",
        f"crops={crops}", "batch=7",
    )  # fmt: skip
    assert (code, err) == (0, "")
    for (_, found), expected in zip(parsed(out), record["probabilities"][:, 0], strict=True):
        assert_shares(found, expected)


def test_one_image_against_the_network_itself(command, checkpoint, network, probabilities_of, photos):
    path = checkpoint()
    code, out, _ = command(f"checkpoint={path}", f"images={photos / 'b.png'}", "top=10", "crops=144")
    assert code == 0
    image = torch.from_numpy(np.asarray(Image.open(photos / "b.png")).transpose(2, 0, 1).copy())
    (expected,) = probabilities_of(network(path), [image], lambda image: multicrop(image, 16, 14))
    ((_, found),) = parsed(out)
    assert_shares(found, expected)


def test_class_names_of_the_training_tree(command, checkpoint, on_tree, photos, tmp_path):
    tree = on_tree()
    code, out, _ = command(
        f"checkpoint={checkpoint()}", f"images={photos / 'b.png'}", "data=cifar10",
        f"data.root={tree['root']}", "data.resize=16", "data.crop=14", "top=10",
    )  # fmt: skip
    assert code == 0
    ((_, found),) = parsed(out)
    assert found.keys() == {f"class{k}" for k in range(10)}


def test_public_weights(command, file, photos):  # noqa: F811
    code, out, err = command(
        f"checkpoint={file}", f"images={photos}", "data=imagenet", "data.classes=10", "data.resize=32",
        "data.crop=28", "data.root=nowhere", "top=2",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 3
    assert command(f"checkpoint={file}", f"images={photos}") == (
        1, "",
        f"evaluate.py: data: required with public weights such as {file}; accepted: imagenet, ...\n",
    )  # fmt: skip


def test_an_unreadable_image_is_named(command, checkpoint, photos):
    (photos / "a.bmp").write_bytes(b"BM nothing")
    code, out, err = command(f"checkpoint={checkpoint()}", f"images={photos}")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"evaluate.py: {photos / 'a.bmp'}: cannot be read (not an image; accepted: BMP, ")


def test_nan_probabilities_are_reported(command, checkpoint, photos):
    path = checkpoint()
    state = torch.load(path, weights_only=True)
    state["model"]["classifier.bias"][3] = torch.nan
    torch.save(state, path.parent / "nan.pt")
    code, out, _ = command(f"checkpoint={path.parent / 'nan.pt'}", f"images={photos / 'b.png'}")
    assert (code, out) == (0, f"{photos / 'b.png'}: the probabilities are NaN or inf\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["images=nowhere"], "images=nowhere: no such file or folder"),
        (["images=empty"], "images=empty: contains no images; accepted: .jpeg, .jpg, "),
        (["images=[]"], "images=[]: accepted: a list of paths, at least one or null"),
        (["images=empty", "top=0"], "top=0: accepted: int >= 1, <= 1e6"),
        (["--json"], "json=true: accepted with images=FOLDER_OR_FILE"),
    ],
)
def test_wrong_use_is_one_line(command, tmp_path, monkeypatch, arguments, line):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    code, out, err = command("checkpoint=a.pt", *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"evaluate.py: {line}")


def image_data(**changes):
    data = smoke_config("bn_x5").data
    assert isinstance(data, ImageData)
    return dataclasses.replace(data, **changes)


def test_class_names(tmp_path):
    missing = str(tmp_path / "missing")
    assert class_names(image_data()) is None
    names = class_names(image_data(name="cifar10", root=missing))
    assert names is not None
    assert (len(names), names[3]) == (10, "cat")
    assert class_names(image_data(name="cifar10", root=missing, classes=9)) is None
    names = class_names(image_data(name="imagenet", root=missing, classes=1000))
    assert names is not None
    assert (len(names), names[0], names[281]) == (1000, "tench", "tabby")
    for name in ("rose", "tulip", ".cache"):
        (tmp_path / "flowers" / "val" / name).mkdir(parents=True)
    flowers = image_data(name="imagenet", root=str(tmp_path / "flowers"), classes=2)
    assert class_names(flowers) == ["rose", "tulip"]
