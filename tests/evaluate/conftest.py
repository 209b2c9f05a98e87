"""Checkpoints of small untrained networks, a tree of small images, and evaluations in this process."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bn import cli
from bn.config import ImageData, config_from, to_dict
from bn.data.photometric import normalize
from bn.data.smoke import smoke_images
from bn.evaluate import checkpoints as module
from bn.evaluate.config import evaluation_from
from bn.models.build import build_model
from bn.models.inception import Inception
from bn.run.checkpoint import save_checkpoint

CHOICES = {
    "crops": 1, "statistics": "moving", "device": "cpu", "threads": 1, "precision": "auto", "batch": 100
}  # fmt: skip


@functools.cache
def smoke_config(experiment):
    return cli.planned_run(
        [f"experiment={experiment}", "scale=smoke", "model.width=0.125", "evaluate.population_batches=3"]
    ).config


@pytest.fixture
def tree(tmp_path):
    """A tree {train,val}/<class>/*.png with a few smoke images at half their size; returns its root."""

    def make(each=2, name="images", classes=range(10)):
        root = tmp_path / name
        images, labels = smoke_images()
        for split, first in (("train", 0), ("val", 500)):
            for label in classes:
                folder = root / split / f"class{label}"
                folder.mkdir(parents=True)
                for i in first + np.flatnonzero(labels[first:] == label)[: each if split == "val" else 4]:
                    Image.fromarray(images[i, :, ::2, ::2].transpose(1, 2, 0)).save(folder / f"{i}.png")
        return root

    return make


@pytest.fixture
def on_tree(tree):
    """The data options for evaluating on a tree."""
    return lambda **options: {"name": "cifar10", "root": str(tree(**options))}


@pytest.fixture
def checkpoint(tmp_path):
    """The path of a checkpoint of an untrained network, with moving averages from a few random images."""

    def make(experiment="bn_x5", seed=0, step=7, **data):
        config = smoke_config(experiment)
        assert isinstance(config.data, ImageData)
        data = dataclasses.replace(config.data, **{"resize": 16, "crop": 14, **data})
        config = dataclasses.replace(config, seed=seed, data=data)
        model = build_model(config)
        assert isinstance(model, Inception)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for _ in range(3):
                model(torch.randn(32, 3, data.crop, data.crop, generator=generator))
            model.classifier.weight *= 30  # so that the probabilities differ
        state = {"step": step, "config": to_dict(config), "model": model.state_dict()}
        folder = tmp_path / f"{experiment}-{seed}-{data.classes}" / "checkpoints"
        folder.mkdir(parents=True)
        return save_checkpoint(folder, step, state)

    return make


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Evaluate in this process: the record, plus class probabilities (images, 1 + models, classes)."""

    def run(*paths, data=None, **choices):
        seen = []
        original = module.best_classes
        monkeypatch.setattr(module, "best_classes", lambda p: seen.append(p) or original(p))
        output = Path(choices.setdefault("output", str(tmp_path / "evaluations")))
        before = {path: path.stat().st_mtime_ns for path in output.glob("*.json")}
        mapping = {**CHOICES, **choices, "checkpoint": [str(path) for path in paths]}
        empty = dict.fromkeys(to_dict(smoke_config("bn_x5").data))
        line = module.evaluate_checkpoints(evaluation_from(mapping), empty | (data or {}))
        monkeypatch.setattr(module, "best_classes", original)
        new = [path for path in output.glob("*.json") if before.get(path) != path.stat().st_mtime_ns]
        record = json.loads(new[0].read_text()) if new else {}
        return {**record, "line": line, "probabilities": torch.cat(seen) if seen else None}

    return run


@pytest.fixture
def network():
    """The network of a checkpoint, with its moving averages, loaded directly."""

    def load(path):
        state = torch.load(path, weights_only=True)
        model = build_model(config_from(state["config"]))
        model.load_state_dict(state["model"])
        return model.eval()

    return load


@pytest.fixture
def images_of():
    """The validation images (N, 3, 16, 16) uint8 of a tree and their labels, sorted by path."""

    def read(root):
        paths = sorted((root / "val").glob("*/*.png"))
        images = np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in paths])
        classes = sorted({path.parent.name for path in paths})
        return torch.from_numpy(images), torch.tensor([classes.index(path.parent.name) for path in paths])

    return read


@pytest.fixture
def probabilities_of():
    """The mean class probabilities over the crops of each image, in float64, one image at a time."""

    @torch.no_grad()
    def compute(model, images, crops_of):
        return torch.stack(
            [model(normalize(crops_of(image).float())).double().softmax(1).mean(0) for image in images]
        )

    return compute
