"""Several loggers at once: what each receives, and that none affects the run or the others."""

import numpy as np
import pytest
import torch

from bn.config import config_from, recorded, to_dict
from bn.errors import Interrupted, UserError
from bn.observe.percentiles import histogram_of, typical_unit
from bn.run import loggers as module
from bn.run.directory import read_lines
from bn.run.loggers import open_loggers

RUN = ("experiment=mnist_bn", "logger=[wandb,tensorboard]")


class Kept:
    """A logger that keeps what it receives, and raises in chosen calls."""

    def __init__(self, fails=()):
        self.fails = fails
        self.numbers, self.histograms, self.images, self.ends = [], [], [], []

    def log(self, numbers, step):
        self._maybe("log")
        self.numbers.append((step, dict(numbers)))

    def log_histograms(self, histograms, step):
        self._maybe("log_histograms")
        self.histograms.append((step, dict(histograms)))

    def log_image(self, name, pixels, step):
        self._maybe("log_image")
        self.images.append((name, pixels, step))

    def finish(self, state, reason):
        self._maybe("finish")
        self.ends.append((state, reason))

    def _maybe(self, call):
        if call in self.fails:
            raise OSError(28, "No space left\non device")


@pytest.fixture
def kept(monkeypatch):
    """Replaces W&B and TensorBoard; holds what each received over all starts."""
    loggers = {"wandb": Kept(), "tensorboard": Kept()}
    monkeypatch.setattr(module, "Wandb", lambda *_: loggers["wandb"])
    monkeypatch.setattr(module, "Tensorboard", lambda *_: loggers["tensorboard"])
    return loggers


def test_both_receive_what_the_records_hold(trained, kept, undisturbed, bits):
    run = trained(*RUN)
    one, other = kept.values()
    assert one.numbers == other.numbers
    rows = [
        (row.pop("step"), {key: value for key, value in row.items() if key != "wall_s"})
        for row in read_lines(run.path / "metrics.jsonl")
    ]
    assert [logged for logged in one.numbers if not any(key.startswith("perc") for key in logged[1])] == rows
    with np.load(run.activations) as arrays:
        for i, step in enumerate(arrays["steps"]):
            (seen,) = [
                found for at, found in one.numbers if at == step and "percentiles/layer2/median_50" in found
            ]
            for layer in ("layer1", "layer2", "layer3"):
                path = arrays[layer][: i + 1]
                unit = typical_unit(path)
                for p, of_units in zip((15, 50, 85), path[-1], strict=True):
                    assert seen.pop(f"percentiles/{layer}/typical_{p}") == of_units[unit]
                    assert seen.pop(f"percentiles/{layer}/median_{p}") == np.median(of_units)
            assert not seen
        assert [step for step, _ in one.histograms] == arrays["steps"].tolist()
    for _, histograms in one.histograms:
        assert set(histograms) == {"inputs/layer1", "inputs/layer2", "inputs/layer3"}
        for counts, edges in histograms.values():
            assert counts.sum() == 600 * 100  # examples x units
            assert len(edges) == len(counts) + 1
    ((name, pixels, step),) = one.images
    assert (name, step) == ("percentiles/figure", 120)
    assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
    assert pixels.std() > 5  # not blank
    assert one.ends == other.ends == [("done", None)]
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))


@pytest.mark.parametrize("call", ["log", "log_histograms", "log_image", "finish"])
def test_a_failing_logger_is_dropped_and_the_other_continues(trained, kept, undisturbed, bits, capfd, call):
    kept["wandb"].fails = (call,)
    run = trained(*RUN)
    err = capfd.readouterr().err
    assert err == (
        "logger=wandb: OSError: [Errno 28] No space left on device: continuing without W&B; "
        "the local records are complete\n"
    )
    assert kept["tensorboard"].ends == [("done", None)]
    assert len(kept["tensorboard"].images) == 1
    assert not kept["wandb"].ends
    assert bits(run) == bits(undisturbed("experiment=mnist_bn"))


def test_only_the_figure_is_lost_if_drawing_fails(trained, kept, monkeypatch, capfd):
    def fails(_):
        raise MemoryError("no\nroom")

    monkeypatch.setattr("bn.observe.figure.percentiles_figure", fails)
    run = trained(*RUN)
    assert capfd.readouterr().err == f"{run.name}: cannot draw its percentiles: MemoryError: no room\n"
    assert run.finished
    assert kept["wandb"].ends == [("done", None)]


def test_loggers_receive_the_final_state(trained, kept, stop_after, monkeypatch):
    with pytest.raises(Interrupted):
        trained(*RUN, stop_signal=stop_after(30))
    trained(*RUN, "model.norm=none", "model.nonlinearity=relu", "optim.lr=1e6")

    def fails(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr("bn.train.check_finite", fails)
    with pytest.raises(RuntimeError, match="broken"):
        trained(*RUN, "seed=1")
    (first, second, third) = kept["wandb"].ends
    assert first == ("interrupted", "SIGTERM")
    assert second[0] == "diverged"
    assert "is nan" in second[1] or "is inf" in second[1]
    assert third == ("failed", None)
    assert len(kept["wandb"].images) == 1  # of the run that ended


def test_without_a_logger_no_histogram_is_made(trained, monkeypatch):
    monkeypatch.setattr("bn.observe.percentiles.histogram_of", None)
    assert trained("experiment=mnist_bn", "steps=60", "probe.examples=60").finished


def test_a_histogram_is_numpys_of_the_finite_values():
    values = torch.randn(3000, 7, generator=torch.Generator().manual_seed(1))
    values[0] = torch.tensor([np.nan, np.inf, -np.inf, 0, 0, 0, 0])
    found = histogram_of(values)
    assert found is not None
    finite = values[values.isfinite()].numpy()
    expected, edges = np.histogram(finite, 64)
    assert np.abs(found.counts - expected).sum() <= 4  # values on an edge, in float32
    np.testing.assert_allclose(found.edges, edges, atol=1e-6)
    same = histogram_of(torch.full((5, 2), 3.0))
    assert same is not None
    assert same.counts.sum() == 10
    assert (same.edges[0], same.edges[-1]) == (2.5, 3.5)
    assert histogram_of(torch.full((2, 2), torch.nan)) is None


WANDB = {"mode": "offline", "project": "p", "entity": None, "group": None, "tags": ["a"]}


@pytest.mark.parametrize(
    ("saved", "today"),
    [
        ({"name": "none"}, {"wandb": None, "tensorboard": None}),
        ({"name": "wandb", **WANDB}, {"wandb": WANDB, "tensorboard": None}),
    ],
    ids=["none", "wandb"],
)
def test_a_config_that_was_saved_when_there_was_one_logger_is_read(planned, saved, today):
    plain = {**to_dict(planned("experiment=mnist_bn").config), "logger": saved}
    assert to_dict(config_from(recorded(plain)))["logger"] == today


def test_the_tags_of_wandb_fit_wandb(planned):
    with pytest.raises(UserError, match=r"^logger\.wandb\.tags=x{65}: accepted: at most 64 characters$"):
        planned("experiment=mnist_bn", "logger=wandb", f"logger.wandb.tags=[{'x' * 65}]")


def test_disabled_and_none_are_no_loggers(planned):
    for overrides in ((), ("logger=wandb", "logger.wandb.mode=disabled"), ("logger=[]",)):
        run = planned("experiment=mnist_bn", *overrides)
        assert not open_loggers(run.config, run).loggers
