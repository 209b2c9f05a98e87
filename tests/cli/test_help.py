"""`--help` shows what can be chosen, in half a second: without torch."""

import re

from bn.cli import names_of

SWEEPS = ", ".join(names_of("sweep"))


def test_help(command, tmp_path, snapshot):
    before = snapshot(tmp_path)
    code, out, err = command("--help", python_options=["-X", "importtime"])
    assert code == 0
    assert re.search(r"^experiment: .*\bmnist_baseline, mnist_bn\b", out, re.MULTILINE)
    for group in (
        "ablation: decay, distortion, dropout, l2, lrn, none, rate, shuffle",
        "data: cifar10, fashion_mnist, imagenet, mnist, smoke, tiny_imagenet",
        "debug: fast, none, overfit, profile",
        "logger: none, wandb",
        "model: inception, mlp",
        "optim: adagrad, adam, sgd",
        "scale: cifar10, imagenet, smoke, tiny_imagenet",
        "switch: decay, distortion, dropout, l2, lrn, none, rate, shuffle",
        f"sweep: {SWEEPS}",
    ):
        assert f"\n{group}\n" in out
    assert re.search(r"^optim:\n  lr: 0\.1$", out, re.MULTILINE)
    examples = re.findall(
        r"^ +python train\.py .*experiment=.*$", out.partition("== Examples ==")[2], re.MULTILINE
    )
    assert len(examples) == 3
    assert sum("-m " in example for example in examples) == 1
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "bn.cli" in imported  # the listing is there
    assert not imported & {"torch", "numpy", "wandb"}
    assert snapshot(tmp_path) == before


def test_the_composed_config_can_be_shown(command):
    code, out, err = command("--cfg", "job", "experiment=mnist_baseline")
    assert (code, err) == (0, "")
    assert "norm: none" in out


def test_a_refusal_does_not_import_torch(command):
    code, _, err = command("experiment=mnist_bn", "optim.lr=0", python_options=["-X", "importtime"])
    assert code == 1
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "bn.config" in imported
    assert not imported & {"torch", "numpy", "wandb"}
