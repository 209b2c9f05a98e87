"""Wrong use: one clear line on stderr, exit code 1, and nothing on disk."""

import os
import subprocess
import sys

import pytest
import torch

from bn import __version__
from bn.cli.arguments import choices_of
from bn.files import REPOSITORY
from tests.conftest import slowly

EXPERIMENTS = (
    "bn_baseline, bn_x30, bn_x5, bn_x5_sigmoid, ensemble, inception, inception_sigmoid, inception_x5, "
    "mnist_baseline, mnist_bn"
)
SCALES = "cifar10, imagenet, smoke, tiny_imagenet"

WRONG = {
    "no experiment": ([], f"experiment: required; accepted: {EXPERIMENTS}"),
    "unknown experiment": (["experiment=nope"], f"experiment=nope: unknown; accepted: {EXPERIMENTS}"),
    "experiment null": (
        ["experiment=null"],
        f"experiment=null: unknown; accepted: {EXPERIMENTS}",
    ),
    "unknown group choice": (
        ["experiment=mnist_bn", "model=vgg"],
        "model=vgg: unknown; accepted: inception, mlp",
    ),
    "unknown sweep": (
        ["sweep=figure9"],
        f"sweep=figure9: unknown; accepted: {', '.join(choices_of('sweep'))}",
    ),
    "unknown key": (
        ["experiment=mnist_bn", "optim.learning_rate=1"],
        "optim.learning_rate: unknown key; accepted: lr, lr_factor, lr_batch, decay, batch, momentum, ",
    ),
    "new key": (["experiment=mnist_bn", "+optim.rate=1"], "optim.rate: unknown key; accepted: name, lr, "),
    "scale for MNIST": (
        ["experiment=mnist_bn", "scale=smoke"],
        "scale=smoke: experiment=mnist_bn takes no scale (its data is fixed)",
    ),
    "no scale": (["experiment=bn_x5"], f"scale: required by experiment=bn_x5; accepted: {SCALES}"),
    "unknown scale": (["experiment=bn_x5", "scale=big"], f"scale=big: unknown; accepted: {SCALES}"),
    "scale with +": (["experiment=bn_x5", "+scale=smoke"], "+scale=smoke: accepted: scale=NAME, without +"),
    "unknown ablation": (
        ["experiment=bn_x5", "scale=smoke", "ablation=batch"],
        "ablation=batch: unknown; accepted: decay, distortion, dropout, l2, lrn, none, rate, shuffle",
    ),
    "ablation of the base": (
        ["experiment=inception", "scale=smoke", "ablation=lrn"],
        "ablation=lrn: does not change experiment=inception; accepted: none",
    ),
    "ablation of a switch that is not set": (
        ["experiment=inception_x5", "scale=smoke", "ablation=lrn"],
        "ablation=lrn: does not change experiment=inception_x5; accepted: none, rate",
    ),
    "ablation for MNIST": (
        ["experiment=mnist_bn", "ablation=dropout"],
        "ablation=dropout: accepted with experiment=mnist_bn: none",
    ),
    "no member": (
        ["experiment=ensemble", "scale=smoke"],
        "member: required; accepted with experiment=ensemble: 1, 2, 3, 4, 5, 6",
    ),
    "unknown member": (
        ["experiment=ensemble", "scale=smoke", "member=7"],
        "member: 7; accepted with experiment=ensemble: 1, 2, 3, 4, 5, 6",
    ),
    "a member of an experiment without members": (
        ["experiment=bn_x5", "scale=smoke", "member=1"],
        "member=1: accepted with experiment=bn_x5: null (only experiment=ensemble has members)",
    ),
    "a mini-batch that is not a multiple of the group": (
        ["experiment=bn_x5", "scale=smoke", "optim.batch=48"],
        "optim.batch=48: accepted with model.norm=ghost: multiples of model.norm_group=32",
    ),
    "per-activation statistics without statistics": (
        ["experiment=inception", "scale=smoke", "model.per_activation=[5b]"],
        "model.per_activation: accepted with model.norm=none: []",
    ),
    "no such module": (
        ["experiment=bn_x5", "scale=smoke", "model.per_activation=[6a]"],
        "model.per_activation[0]='6a': accepted: 3a, 3b, 3c, 4a, 4b, 4c, 4d, 4e, 5a, 5b",
    ),
    "no such layer": (
        ["experiment=bn_x5", "scale=smoke", "probe.layers=[inception_3c.conv_1x1]"],
        "probe.layers=inception_3c.conv_1x1: accepted: names such as conv2 or inception_4c.conv_3x3",
    ),
    "a crop larger than the image": (
        ["experiment=bn_x5", "scale=smoke", "data.crop=40"],
        "data.crop=40: accepted: at most data.resize=32",
    ),
    "images for the MLP": (
        ["experiment=mnist_bn", "data=cifar10"],
        "data=cifar10: model=mlp takes data=mnist or fashion_mnist; for images, model=inception",
    ),
    "a model of another experiment": (
        ["experiment=mnist_bn", "model=inception"],
        "model=inception: accepted with experiment=mnist_bn: mlp",
    ),
    "the MLP for images": (
        ["experiment=bn_x5", "scale=smoke", "model=mlp"],
        "model=mlp: accepted with experiment=bn_x5: inception",
    ),
    "MNIST for Inception": (
        ["experiment=bn_x5", "scale=smoke", "data=mnist"],
        "data=mnist: accepted with experiment=bn_x5: cifar10, imagenet, smoke, tiny_imagenet",
    ),
    "a logger's key without it": (
        ["experiment=mnist_bn", "logger.wandb.project=foo"],
        "logger.wandb: accepted with logger=wandb",
    ),
    "a logger that is none, among others": (
        ["experiment=mnist_bn", "logger=[wandb,nothing]"],
        "logger=nothing: unknown; accepted: none, tensorboard, wandb",
    ),
    "a logger's unknown key": (
        ["experiment=mnist_bn", "logger=tensorboard", "logger.tensorboard.mode=online"],
        "logger.tensorboard.mode: unknown key; accepted: flush_s",
    ),
    "a logger's key without the logger's name": (
        ["experiment=mnist_bn", "logger=wandb", "logger.mode=online"],
        "logger.mode: unknown key; accepted: logger.wandb, logger.tensorboard",
    ),
    "a float for a whole number": (
        ["experiment=mnist_bn", "steps=1e5"],
        "steps=100000.0: accepted: int >= 1, <= 1e9, written 100000",
    ),
    "a number of a group in a sweep": (
        ["-m", "experiment=mnist_bn", "model=mlp,3"],
        "model=3: unknown; accepted: inception, mlp",
    ),
    "removed key": (["experiment=mnist_bn", "~seed"], "~seed: accepted: KEY=VALUE"),
    "wrong type": (["experiment=mnist_bn", "optim.lr=fast"], "optim.lr='fast': accepted: float"),
    "string for int": (["experiment=mnist_bn", "seed='3'"], "seed='3': accepted: int"),
    "rate 0": (["experiment=mnist_bn", "optim.lr=0"], "optim.lr=0.0: accepted: float > 0"),
    "rate below 0": (["experiment=mnist_bn", "optim.lr=-1"], "optim.lr=-1.0: accepted: float > 0"),
    "rate infinite": (["experiment=mnist_bn", "optim.lr=inf"], "optim.lr=inf: accepted: float > 0, <= 1e30"),
    "impossible together": (
        ["experiment=mnist_bn", "step_path=fused", "optim.momentum=0.9"],
        "step_path=fused: optim.momentum=0.9 needs step_path=autograd or auto",
    ),
    "interpolation to nothing": (
        ["experiment=mnist_bn", "threads=${nothing}"],
        "threads: Interpolation key 'nothing' not found",
    ),
    "no value": (["experiment=mnist_bn", "optim.lr"], "optim.lr: accepted: KEY=VALUE, such as optim.lr=1"),
    "open bracket": (["experiment=mnist_bn", "model.hidden=[1"], "model.hidden=[1: accepted: KEY=VALUE, "),
    "an axis without -m": (
        ["experiment=mnist_bn", "seed=0,1"],
        "seed=0,1: several values: train.py -m trains a",
    ),
    "a bad member": (
        ["-m", "experiment=mnist_baseline,mnist_bn", "seed=0,1", "optim.lr=0.1,-1"],
        "optim.lr=-1.0: accepted: float > 0, <= 1e30 (member experiment=mnist_baseline seed=0 optim.lr=-1",
    ),
    "a key that only the swept experiments have": (  # data.workers is accepted, and steps is not
        ["-m", "experiment=inception,bn_x5", "scale=smoke", "data.workers=3", "steps=-1"],
        "steps=-1: accepted: int >= 1, <= 1e9 (member experiment=inception scale=smoke data.workers=3 steps",
    ),
    "a key below another, in a sweep": (
        ["-m", "experiment=mnist_bn", "steps.x=3"],
        "steps.x: unknown key; accepted: steps",
    ),
    "null for a nested key, and a wrong value": (
        ["-m", "experiment=mnist_bn", "data.examples=null", "steps=-1"],
        "steps=-1: accepted: int >= 1, <= 1e9 (member experiment=mnist_bn data.examples=null steps=-1",
    ),
    "an unknown variable": (
        ["-m", "experiment=mnist_bn", "data.root=${oc.env:NOPE}"],
        "data.root: KeyError raised while resolving interpolation: \"Environment variable 'NOPE' not found\"",
    ),
    "a sweep over no value": (
        ["-m", "experiment=mnist_bn", "seed=range(0)"],
        "seed=range(0): has no values; accepted: at least one, as in 1,2 or range(3)",
    ),
    "a sweep over no file": (
        ["-m", "experiment=mnist_bn", "optim=glob(x*)"],
        "optim=glob(x*): has no values; accepted: at least one, as in 1,2 or range(3)",
    ),
    "a sweep over an interval": (
        ["-m", "experiment=mnist_bn", "optim.lr=interval(0,1)"],
        "optim.lr=interval(0,1): has no values; accepted: at least one, as in 1,2 or range(3)",
    ),
    "a bad experiment in a sweep": (
        ["-m", "experiment=mnist_bn,nope"],
        f"experiment=nope: unknown; accepted: {EXPERIMENTS}",
    ),
    "a member twice": (
        ["-m", "experiment=mnist_bn", "optim.lr=0.1,1e-1"],
        "two members of the sweep: experiment=mnist_bn optim.lr=0.1",
    ),
}


def one_line(result):
    """The message of a refused command, without `train.py: `."""
    code, out, err = result
    assert (code, out) == (1, "")
    assert err.startswith("train.py: ")
    assert err.count("\n") == 1
    return err.removeprefix("train.py: ").rstrip()


@pytest.mark.parametrize(
    "case", [*list(WRONG)[::3], *slowly(*(c for c in WRONG if c not in list(WRONG)[::3]))]
)
def test_wrong_use(cli, tmp_path, snapshot, monkeypatch, case):
    arguments, expected = WRONG[case]
    monkeypatch.chdir(tmp_path)
    line = one_line(cli(*arguments, f"output={tmp_path}/runs"))
    assert expected in line
    assert line.startswith(expected) or case == "a member twice"
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("case", ["unknown key", "unknown experiment", "open bracket", "a bad member"])
def test_wrong_use_of_the_command_itself(command, tmp_path, snapshot, case):
    arguments, expected = WRONG[case]
    before = snapshot(tmp_path)
    assert one_line(command(*arguments, f"output={tmp_path}/runs")).startswith(expected)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("experiment=nope",), "experiment=nope: unknown; "),
        (("-m", "experiment=mnist_bn"), "2 processes: a sweep (-m) is started by one process, "),
    ],
)
def test_one_of_several_processes_reports(command, tmp_path, monkeypatch, arguments, line):
    results = []
    for rank in ("0", "1"):
        for name, value in (
            ("RANK", rank),
            ("LOCAL_RANK", rank),
            ("WORLD_SIZE", "2"),
            ("LOCAL_WORLD_SIZE", "2"),
        ):
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MASTER_ADDR", "localhost")
        monkeypatch.setenv("MASTER_PORT", "1234")
        results.append(command(*arguments, f"output={tmp_path}/runs"))
    assert one_line(results[0]).startswith(line)
    assert results[1] == (0, "", "")
    monkeypatch.delenv("RANK")  # not set by torchrun
    assert command(*arguments, f"output={tmp_path}/runs")[0] == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device, so device=cuda is right")
@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["run", "sweep"])
def test_cuda_without_a_gpu(cli, tmp_path, snapshot, sweep):
    before = snapshot(tmp_path)
    line = one_line(cli(*sweep, "experiment=mnist_bn", "device=cuda", f"output={tmp_path}/runs"))
    assert line.startswith("device=cuda: no CUDA device is available; accepted: auto, cpu")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("sweep", [[], ["-m"]], ids=["run", "sweep"])
def test_an_output_directory_that_cannot_be_created(command, tmp_path, snapshot, sweep):
    (tmp_path / "file").write_text("in the way")
    before = snapshot(tmp_path)
    code, out, err = command(*sweep, "experiment=mnist_bn", f"output={tmp_path}/file/runs")
    line = one_line((code, out.replace("train.py: sweep of 1 run, 0 finished before\n", ""), err))
    assert "/file/runs/" in line
    assert line.endswith(": cannot be written (Not a directory)")
    assert snapshot(tmp_path) == before


def test_an_output_directory_on_a_read_only_file_system(command, tmp_path, snapshot):
    before = snapshot(tmp_path)
    line = one_line(command("experiment=mnist_bn", "output=/proc/runs"))  # root cannot write there either
    assert line.endswith("proc/runs/mnist_bn/default/seed_0: cannot be written (No such file or directory)")
    assert snapshot(tmp_path) == before


OPTIONS = ("--resume", "-x", "--no-such", "--cfg", "--cfg=nothing", "--info=nothing", "--config-name")


@pytest.mark.parametrize("option", [OPTIONS[0], *slowly(*OPTIONS[1:])])
@pytest.mark.parametrize("program", ["train.py", "evaluate.py"])
def test_an_unknown_option_is_one_line(program, option, tmp_path, monkeypatch, snapshot):
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, REPOSITORY / program, "experiment=mnist_bn", option], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{program}: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("; --help shows what is accepted\n")
    assert snapshot(tmp_path) == {}


def test_an_option_among_the_keys_is_one_line(cli):
    code, out, err = cli("experiment=mnist_bn", "-m", "seed=0,1", "steps=3")
    assert (code, out) == (1, "")
    assert (
        err == "train.py: seed=0,1 steps=3: accepted: all KEY=VALUE together, before or after the options\n"
    )


def test_the_version_is_this_projects(cli):
    assert cli("--version") == (0, f"train.py: bn {__version__}\n", "")
