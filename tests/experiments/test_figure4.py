"""Figure 4 from synthetic evaluations: the records that are used, and the table."""

import importlib.util
import json
import sys
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bn import cli
from bn.config import to_dict
from bn.errors import UserError
from bn.evaluate.checkpoints import evaluate_checkpoints
from bn.evaluate.config import evaluation_from
from bn.files import REPOSITORY
from bn.models.build import build_model
from bn.run.checkpoint import list_checkpoints, save_checkpoint
from experiments import EXPERIMENTS, figure4, networks
from experiments.drawing import differences, make
from tests.experiments.conftest import cells_of

N = 1000
ACCURACY = {100: 0.5, 200: 0.6, 300: 0.7}
# Correct answers of the mean, and of the networks one by one: top-1, top-5.
COUNTS = {
    ("bn_x30", 1): ((760, 960), [(750, 950), (760, 960)]),
    ("bn_x30", 144): ((800, 970), [(780, 970), (790, 970)]),
    ("ensemble", 1): ((810, 980), [(700, 940), (710, 940), (720, 940), (730, 940), (740, 940), (750, 940)]),
    ("ensemble", 144): ((830, 990), [(770, 960)] * 6),
}


@pytest.fixture
def runs(ended_run, tmp_path):
    """Six members and two seeds of BN-x30, as finished runs with one checkpoint each."""
    made = [ended_run("ensemble", 0, ACCURACY, member=member) for member in range(1, 7)]
    made += [ended_run("bn_x30", seed, ACCURACY) for seed in (0, 1)]
    for i, run in enumerate(made):
        save_checkpoint(run.checkpoints, 300, {"weights": torch.tensor(i)})
    return made


def record(runs, experiment, crops, /, **changes):
    """A record of evaluate.py for the last checkpoints of one experiment's runs."""
    (top1, top5), alone = COUNTS[experiment, crops]
    checkpoints = [list_checkpoints(r.checkpoints)[-1] for r in runs if r.config.experiment == experiment]
    return {
        "n": N, "top1_correct": top1, "top5_correct": top5, "crops": crops, "models": len(checkpoints),
        "statistics": "population", "precision": "float32", "torch": "2.0",
        "time": "2026-01-01T00:00:00+0000", "not_finite": 0, "data": {"name": "imagenet", "crop": 224},
        "checkpoints": [
            {"path": str(path), "sha256": "0", "name": experiment, "step": 300, "n": N, "top1_correct": one,
             "top5_correct": five, "config": {}}
            for path, (one, five) in zip(checkpoints, alone, strict=True)
        ],
        **changes,
    }  # fmt: skip


@pytest.fixture
def evaluated(runs):
    """The folder with the records of all four evaluations."""
    folder = REPOSITORY / runs[0].config.output / "evaluations"
    folder.mkdir()
    for experiment, crops in COUNTS:
        text = json.dumps(record(runs, experiment, crops))
        (folder / f"{experiment}_{crops}.json").write_text(text)
    return folder


def test_the_table_says_what_the_evaluations_say(runs, evaluated, tmp_path):
    figure4.collect(runs, tmp_path / "figure4")
    figure4.draw(tmp_path / "figure4", tmp_path)
    found = cells_of(tmp_path)
    assert found["classifier"][5:] == ["ours (CIFAR-10 at 28): top-1 error (%)", "ours: top-5 error (%)"]
    # Two seeds: 12.706 times half their distance. Six members of 25, 26, ... 30%: variance 3.5, and
    # 2.571 * sqrt(3.5 / 6). The ensembles: Wilson's interval.
    assert {name: cells[1:] for name, cells in found.items() if cells[-1] != "-"} == {
        "classifier": found["classifier"][1:],
        "BN-Inception single crop": ["1", "1", "25.2", "7.82", "24.50 ± 6.35", "4.50 ± 6.35"],
        "BN-Inception multicrop": ["144", "1", "21.99", "5.82", "21.50 ± 6.35", "3.00 ± 0.00"],
        "BN-Inception ensemble": [
            "144", "6", "20.1", "4.9", "17.00 (14.80 to 19.45)", "1.00 (0.54 to 1.83)",
        ],
        "each of our six, single crop": ["1", "1", "-", "-", "27.50 ± 1.96", "6.00 ± 0.00"],
        "each of our six, multicrop": ["144", "1", "-", "-", "23.00 ± 0.00", "4.00 ± 0.00"],
        "our six together, single crop": [
            "1", "6", "-", "-", "19.00 (16.69 to 21.55)", "2.00 (1.30 to 3.07)",
        ],
    }  # fmt: skip
    text = (tmp_path / "table.md").read_text()
    assert "over the 1,000 validation images" in text
    assert "over 2 seeds of BN-x30" in text
    assert "for 300 mini-batches of 32" in (tmp_path / "notes.md").read_text()


def test_drawing_twice_gives_the_same_bytes(runs, evaluated, tmp_path):
    figure4.collect(runs, tmp_path / "figure4")
    make("figure4", figure4, tmp_path)
    assert differences("figure4", figure4, tmp_path) == []


def test_records_of_other_checkpoints_crops_or_statistics_are_not_taken(runs, evaluated, tmp_path):
    name = evaluated / "ensemble_144.json"
    other = record(runs, "ensemble", 144)
    other["checkpoints"][3]["path"] = "runs/step_00000300.0123456789abcdef.pt"
    for wrong in (
        other,
        record(runs, "ensemble", 144, statistics="moving"),
        record(runs, "ensemble", 144, crops=1),
    ):
        name.write_text(json.dumps(wrong))
        with pytest.raises(UserError, match="no record of the 6 networks of ensemble with 144 crops"):
            figure4.collect(runs, tmp_path / "figure4")


def test_of_two_records_the_newer_is_taken(runs, evaluated, tmp_path):
    newer = record(runs, "ensemble", 144, top1_correct=900, time="2026-01-02T00:00:00+0000")
    (evaluated / "again.json").write_text(json.dumps(newer))
    figure4.collect(runs, tmp_path / "figure4")
    figure4.draw(tmp_path / "figure4", tmp_path)
    assert cells_of(tmp_path)["BN-Inception ensemble"][5].startswith("10.00 ")


def test_a_record_of_evaluate_is_one_that_is_taken(ended_run):
    """Two small untrained networks, actually evaluated on generated images."""
    runs = [ended_run("bn_x30", seed, ACCURACY, scale="smoke") for seed in (0, 1)]
    for run in runs:
        state = {"step": 300, "config": to_dict(run.config), "model": build_model(run.config).state_dict()}
        save_checkpoint(run.checkpoints, 300, state)
    with initialize_config_dir(str(cli.CONFIGS), version_base="1.3"):
        composed = compose("evaluate", [*figure4.evaluation(runs, 1), "device=cpu", "threads=1"])
    mapping: Any = OmegaConf.to_container(composed, resolve=True)
    data = mapping.pop("data")
    evaluate_checkpoints(evaluation_from(mapping), data)
    found = figure4.record_of(runs, "bn_x30", 1)
    assert (found["n"], found["crops"], found["statistics"]) == (500, 1, "population")
    assert {"top1_correct", "top5_correct", "time", "commit"} <= found.keys()
    for network, run in zip(found["checkpoints"], runs, strict=True):
        assert {"top1_correct", "top5_correct", "sha256"} <= network.keys()
        assert network["config"] == to_dict(run.config)


def test_a_diverged_member_is_no_ensemble(runs, ended_run):
    gone = ended_run("ensemble", 0, {}, end=40, diverged=True, member=6)
    with pytest.raises(UserError, match="member_6/seed_0: diverged: it has no network"):
        figure4.evaluations([*runs[:5], gone, *runs[6:]])


def test_a_seed_of_bn_x30_that_has_not_ended_is_left_out_but_no_member_is(runs):
    runs[7].set_status("running", 200)
    found = figure4.evaluations(runs)
    assert found[0][0] == f"checkpoint=[{runs[6].name}]"
    runs[0].set_status("running", 200)
    with pytest.raises(UserError, match="member_1/seed_0: running, not finished"):
        figure4.evaluations(runs)


def test_one_seed_has_no_interval(runs, evaluated, tmp_path):
    runs[7].set_status("running", 200)
    for crops in (1, 144):
        one = record(runs, "bn_x30", crops)
        del one["checkpoints"][1]
        (evaluated / f"bn_x30_{crops}.json").write_text(json.dumps(one))
    figure4.collect(runs, tmp_path / "figure4")
    figure4.draw(tmp_path / "figure4", tmp_path)
    assert cells_of(tmp_path)["BN-Inception single crop"][5:] == ["25.00", "5.00"]
    assert "over 1 seed of BN-x30" in (tmp_path / "table.md").read_text()


def test_evaluations_in_two_precisions_are_not_one_table(runs, evaluated, tmp_path):
    other = record(runs, "ensemble", 144, precision="bf16")
    (evaluated / "ensemble_144.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match="precision of the evaluations is float32 and bf16"):
        figure4.collect(runs, tmp_path / "figure4")


def test_a_run_without_a_checkpoint_is_named(runs, tmp_path):
    for path in list_checkpoints(runs[6].checkpoints):
        path.unlink()
    with pytest.raises(UserError, match="seed_0/checkpoints: empty"):
        figure4.record_of(runs, "bn_x30", 1)


def test_every_evaluation_takes_all_checkpoints_of_its_experiment(runs):
    found = figure4.evaluations(runs)
    members, seeds = [run.name for run in runs[:6]], [run.name for run in runs[6:]]
    assert [arguments[:3] for arguments in found] == [
        [f"checkpoint=[{','.join(names)}]", f"crops={crops}", "statistics=population"]
        for names in (seeds, members) for crops in (1, 144)
    ]  # fmt: skip
    assert {arguments[3] for arguments in found} == {"precision=float32"}
    assert {arguments[-1] for arguments in found} == {f"output={runs[0].config.output}/evaluations"}


def test_reproduce_trains_then_evaluates_then_draws(runs, evaluated, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("reproduce", REPOSITORY / "scripts" / "reproduce.py")
    assert spec is not None
    assert spec.loader is not None
    reproduce = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reproduce)
    commands = []
    planned = {"ensemble": runs[:6], "figure2": runs[6:]}
    results = tmp_path / "results"
    monkeypatch.setattr(reproduce, "run", lambda entry, arguments: commands.append([entry, *arguments]))
    monkeypatch.setattr(reproduce.cli, "planned_runs", lambda sweep, arguments: planned[sweep])
    monkeypatch.setattr(reproduce, "RESULTS", results)
    monkeypatch.setattr(reproduce, "PAGES", [tmp_path / "README.md"])
    monkeypatch.setattr(reproduce, "make", lambda name, experiment: make(name, experiment, results))
    monkeypatch.setattr(reproduce, "page_with_tables", lambda page: ("", "the README"))
    monkeypatch.setattr(sys, "argv", ["reproduce.py", "figure4", "device=cpu"])
    reproduce.main()
    assert commands == [
        ["train.py", "sweep=ensemble", "device=cpu"],
        ["train.py", "sweep=figure2", "experiment=bn_x30", "device=cpu"],
        *(["evaluate.py", *arguments, "device=cpu"] for arguments in figure4.evaluations(runs)),
    ]
    assert cells_of(results / "figure4")["BN-Inception single crop"][5] == "24.50 ± 6.35"
    assert (tmp_path / "README.md").read_text() == "the README"
    assert "results/figure4 is up to date: 8 of its 8 run directories have ended" in capsys.readouterr().out
    commands.clear()
    monkeypatch.setattr(sys, "argv", ["reproduce.py", "figure4", "--collect"])
    reproduce.main()
    assert commands == []


def test_the_sweeps_hold_the_runs_that_the_figures_need():
    def axes(sweep):
        text = (REPOSITORY / "configs" / "sweep" / f"{sweep}.yaml").read_text()
        return yaml.safe_load(text)["hydra"]["sweeper"]["params"]

    figure2, ensemble = axes("figure2"), axes("ensemble")
    assert figure2["experiment"].split(",") == list(networks.NETWORKS)
    assert ensemble["member"].split(",") == [str(member) for member in range(1, 7)]
    assert figure2["scale"] == ensemble["scale"]
    assert EXPERIMENTS["figure3"].SWEEPS == EXPERIMENTS["figure2"].SWEEPS
