"""Another domain (section 5), for Inception: can BN adapt it to other images by new population statistics?

    python scripts/reproduce.py inception_adaptation     BN-x5 on 6 forms of CIFAR-10, 3 seeds
                                                         (configs/sweep/inception_adaptation.yaml)

The question of `adaptation`, for BN-x5. Trained on the original images, it is tested on inverted, blurred,
noisy, shifted and low-contrast ones (bn/data/image_inputs.py): with its old population statistics, and with
those of training images changed in the same way. The same network trained on such images is the reference.
Measured numbers, with n: results/inception_adaptation/table.md.

Decided before the runs:

- 300 mini-batches of 32 at the scale's learning rate, a 26th of a training of BN-x5: the runs cost about 12
  minutes of an idle core. So the networks are far from their final accuracy; the effect of new statistics on
  a fully trained network is not measured. (The plan was 600 mini-batches, cut to 300 before the first run.)
- All statistics are Algorithm 2's, over the next 50 mini-batches of the original or the changed training
  images; no label is used. Accuracy is measured on 2,000 held-out training images, which choose nothing.
- The loss of a network is its accuracy on the original images minus that on the changed ones, both with the
  old statistics. The share recovered is (new - old) / loss, seed by seed.
- A change counts if its cost is clearly above zero: the 95% interval of the three seeds' losses. The network
  adapts to it if the mean share is above one half. The paper's conjecture holds for Inception if it adapts to
  more than half of the changes that count, among the four of claim 77 (inverted, blurred, noisy, shifted); in
  part if to one of them; else not. Low contrast does not count, as in `adaptation`.
- The rule of claim 77 is about the MLP, and does not use these numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bn.config import Config, ImageData
from bn.data.images import Datasets, ImageLoader, Plan, find_datasets, open_loader
from bn.evaluate.accuracy import image_metrics
from bn.evaluate.trained import load_trained
from bn.norm import population_statistics
from bn.run.directory import RunDirectory
from experiments import adaptation, collected, networks, style
from experiments.adaptation import CHANGES, HEADER, LABEL, Seeds, recovered
from experiments.verdicts.judged import clearly

SWEEPS = {"inception_adaptation": ()}
ORIGINAL = "original"
FORMS = (ORIGINAL, *CHANGES)


def collect(runs: Sequence[RunDirectory], folder: Path) -> None:
    """Write accuracy.csv (one row per form of the images and seed) and runs.json.

    The networks trained on the original images are loaded from their last checkpoints and evaluated here.
    """
    runs, trained = adaptation.complete(
        runs, lambda config: _data(config).inputs, "validation/accuracy_population"
    )
    data = _data(runs[0].config)
    pictures = {name: find_datasets(replace(data, inputs=name)) for name in FORMS}
    rows = [
        (name, run.config.seed, old, new, trained[name, run.config.seed])
        for run in runs
        if _data(run.config).inputs == ORIGINAL
        for name, (old, new) in adapted(run, pictures).items()
    ]
    collected.write_csv(folder / "accuracy.csv", HEADER, rows)
    collected.write_provenance(folder / "runs.json", runs)


def adapted(run: RunDirectory, pictures: Mapping[str, Datasets]) -> dict[str, tuple[float, float]]:
    """Accuracy on each form of the images, with the original statistics and with that form's own."""
    config = run.config
    model = load_trained(run.path).model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    next_ones = range(config.length, config.length + config.evaluate.population_batches)
    plan = Plan(next_ones.stop, config.optim.batch, config.seed, next_ones.start)
    forms = {
        name: open_loader(replace(_data(config), inputs=name), plan, torch.device("cpu"), pictures[name])
        for name in FORMS
    }

    def batches(images: ImageLoader) -> Iterable[Tensor]:
        return (images.batch(n).images for n in next_ones)

    def accuracy(images: ImageLoader) -> float:
        return image_metrics(model, images.validation())["accuracy"]

    population_statistics(model, batches(forms[ORIGINAL]))
    old = {name: accuracy(images) for name, images in forms.items()}
    found = {}
    for name, images in forms.items():
        population_statistics(model, batches(images))
        found[name] = old[name], accuracy(images)
    return found


def _data(config: Config) -> ImageData:
    assert isinstance(config.data, ImageData)
    return config.data


def draw(folder: Path, out: Path) -> None:
    """Write inception_adaptation (png, svg, pdf) and table.md."""
    found = adaptation.read(folder)
    _draw(found, out / "inception_adaptation")
    (out / "table.md").write_text(_table(found, collected.read_json(folder / "runs.json")))


def cost(seeds: Seeds, original: Seeds) -> list[float]:
    """The points that a change costs the network with its old statistics, by seed."""
    return [before - old for old, before in zip(seeds.old, original.old, strict=True)]


def _draw(found: Mapping[str, Seeds], stem: Path) -> None:
    fig, axes = style.figure(8.4, 2.6, columns=len(found), sharey=True)
    for axis, (name, seeds) in zip(axes, found.items(), strict=True):
        axis.set_title(LABEL[name])
        adaptation.draw_bars(axis, seeds)
    axes[0].set(ylim=(0, None), ylabel="accuracy (%)")
    adaptation.draw_legend(fig)
    style.save(fig, stem)


def _table(found: Mapping[str, Seeds], document: Mapping[str, Any]) -> str:
    lines = [
        "| images | old statistics: accuracy (%) | new statistics | trained on such images "
        "| cost of the change (points) | share of it recovered by new statistics |",
        "|---|---|---|---|---|---|",
    ]
    original = found[ORIGINAL]
    for name, seeds in found.items():
        cells = [collected.mean_text(values, 1) for values in seeds]
        lost = cost(seeds, original)
        cells.append("-" if name == ORIGINAL else collected.mean_text(lost, 1, "+"))
        counts = clearly(lost) > 0
        cells.append(collected.mean_text(recovered(seeds, original), 2) if counts else "-")
        lines.append(f"| {LABEL[name]} | {' | '.join(cells)} |")
    config = document["config"]
    n = collected.seeds_text(len(seeds.old) for seeds in found.values())
    return collected.document(
        lines,
        f"{networks.trained(config, 'BN-x5 trains')} The table has its accuracy on "
        f"{config['data.validation']:,} held-out training images. {collected.means(n)}",
        (
            "**Old statistics** are those of Algorithm 2 over "
            f"{config['evaluate.population_batches']} mini-batches of the original training images.",
            "**New statistics** are the same over images that are changed like the held-out ones. The "
            "weights are those trained on the original images.",
            "**Cost** is the accuracy lost with the old statistics, computed seed by seed.",
            "**Share** is the accuracy gained by the new statistics over the cost. It is given where the "
            "cost is clearly above zero.",
        ),
        collected.origin(document),
    )
