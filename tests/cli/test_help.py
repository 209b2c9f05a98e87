"""`--help` describes every key and its accepted values, in half a second, without importing torch."""

import dataclasses
import json
import re

import pytest

from bn.cli import planned_run
from bn.cli.arguments import choices_of
from bn.cli.help import first_sentence
from bn.config import Config, config_from, flatten, to_dict
from bn.config.notation import accepted, hints_of, options_of, parts_of
from bn.errors import UserError
from bn.evaluate.config import EvaluationAndData
from bn.files import REPOSITORY
from tests.conftest import slowly

PROGRAMS = {"train.py": Config, "evaluate.py": EvaluationAndData}
CHOSEN = ("experiment", "scale")  # keys set by a config group


def every_key(schema, prefix=""):
    """Yield (key, annotation) for all keys of a dataclass and its groups."""
    for name, hint in hints_of(schema).items():
        inner = [option for option in options_of(hint) if dataclasses.is_dataclass(option)]
        if not inner:
            yield f"{prefix}{name}", hint
        for option in inner:
            assert option.__doc__
            yield from every_key(option, f"{prefix}{name}.")


@pytest.mark.parametrize(
    ("program", "key", "hint"),
    [(program, *each) for program, schema in PROGRAMS.items() for each in every_key(schema)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_key_has_a_description(program, key, hint):
    doc = parts_of(hint).doc
    assert doc is not None
    assert doc.meaning
    assert doc.meaning[-1] not in ".;"


def test_help(command, tmp_path, snapshot):
    before = snapshot(tmp_path)
    code, out, err = command("--help", python_options=["-X", "importtime"])
    assert code == 0
    folders = (folder.name for folder in (REPOSITORY / "configs").iterdir() if folder.is_dir())
    for group in {*folders} - {"hydra"}:
        line = re.search(rf"^{group}: (.+(?:\n  .+)*)", out, re.MULTILINE)
        assert line
        assert re.sub(r" \[\w+\]$", "", " ".join(line[1].split())).split(", ") == choices_of(group)
    for key, value in flatten(to_dict(planned_run(["experiment=mnist_baseline"]).config)).items():
        if key not in (*CHOSEN, "model.norm") and not key.endswith(".name") and not key.startswith("logger"):
            shown = value if isinstance(value, str) else json.dumps(value).replace(" ", "").replace('"', "")
            (line,) = re.findall(rf"^  {re.escape(key)}=(\S+)", out, re.MULTILINE)
            assert line.replace(".0", "") == shown.replace(".0", ""), key
    examples = re.findall(
        r"^ +python train\.py .*experiment=.*$", out.partition("== Examples ==")[2], re.MULTILINE
    )
    assert len(examples) == 3
    assert sum("-m " in example for example in examples) == 1
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "bn.cli" in imported  # importtime was printed
    assert not imported & {"torch", "numpy", "wandb"}
    assert snapshot(tmp_path) == before


@pytest.fixture
def page(cli, monkeypatch):
    """The help page for these words in 110 columns, joined to one line for each key."""

    def read(*words, columns=110):
        monkeypatch.setenv("COLUMNS", str(columns))
        code, out, err = cli("--help", *words)
        assert (code, err) == (0, "")
        assert max(map(len, out.splitlines())) <= columns
        return re.sub(r"\n {5,}", " ", out)

    return read


def test_accepted_values_are_described_as_in_errors(page):
    """The help page and error messages describe accepted values in the same words."""
    out = page()
    for key, hint in every_key(Config):
        if key in CHOSEN or key.endswith(".name"):
            continue
        doc = parts_of(hint).doc
        assert doc
        lines = [line for line in out.splitlines() if re.match(rf"  {re.escape(key)}(=| )", line)]
        assert lines, key
        about = f"({accepted(hint)}{f'; {doc.unit}' * bool(doc.unit)})"
        assert any(line.endswith(about) and doc.meaning in line for line in lines), (key, lines)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("optim.lr", 0.0), ("device", "gpu"), ("model.norm", "weight"),
        *slowly(("steps", 0), ("data.threshold", 1.0), ("log_every", 0), ("compile", "maybe")),
    ],
)  # fmt: skip
def test_an_error_says_what_the_help_says(page, key, wrong):
    plain = to_dict(planned_run(["experiment=mnist_bn"]).config)
    *path, last = key.split(".")
    group = plain
    for name in path:
        group = group[name]
    group[last] = wrong
    with pytest.raises(UserError) as error:
        config_from(plain)
    words = str(error.value).partition("accepted: ")[2]
    line = next(line for line in page(key).splitlines() if line.startswith(f"  {key}="))
    assert re.search(rf"\({re.escape(words)}(; \w+)?\)$", line)


def test_a_group_with_its_current_choice_and_a_key(page):
    out = page("optim", "probe.at.every", "experiment=bn_x5", "scale=smoke")
    assert re.findall(r"^optim=NAME, now sgd:$|^optim: |^optim\.decay: ", out, re.MULTILINE) == [
        "optim=NAME, now sgd:", "optim: ", "optim.decay: ",
    ]  # fmt: skip
    assert "  optim.lr_factor=5.0 " in out
    assert "  probe.at.every=" in out
    assert "seed" not in out
    assert "probe.examples" not in out


def test_the_choices_of_a_group_are_described(page):
    out = page("experiment")
    assert re.findall(r"^  (\w+) +\S", out, re.MULTILINE) == choices_of("experiment")
    assert "Section 4.2, BN-x30: BN-x5 at 30 times the base's learning rate." in out


GROUPS = sorted(path.name for path in (REPOSITORY / "configs").iterdir() if path.is_dir())


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "hydra"])
def test_every_choice_has_a_description(group):
    assert [name for name in choices_of(group) if not first_sentence(group, name).strip()] == []


def test_it_fits_a_narrow_terminal(page):
    assert "optim.decay.speed=1.0" in page("optim", "experiment", columns=60)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["optm"], "--help optm: unknown; accepted: a key, or one of ablation, data, debug, evaluate, "),
        (["optim.rate"], "--help optim.rate: unknown; accepted: a key, or one of "),
        (["optim", "scale=huge"], "scale=huge: unknown; accepted: cifar10, imagenet, smoke, tiny_imagenet"),
    ],
)
def test_wrong_use_is_one_line(cli, words, line):
    code, out, err = cli("--help", *words)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"train.py: {line}")


def test_the_composed_config_can_be_shown(command):
    code, out, err = command("--cfg", "job", "experiment=mnist_baseline")
    assert (code, err) == (0, "")
    assert "norm: none" in out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("experiment=mn", {"experiment=mnist_baseline", "experiment=mnist_bn"}),
        *slowly(
            ("optim.l", {"optim.lr=", "optim.lr_batch=", "optim.lr_factor="}),
            ("logger=t", {"logger=tensorboard"}),
        ),
    ],
)
def test_a_shell_can_complete(command, monkeypatch, typed, offered):
    line = f"python train.py {typed}"
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    code, out, err = command("-sc", "query=bash")
    assert (code, err) == (0, "")
    assert set(out.split()) == offered


def test_a_refusal_does_not_import_torch(command):
    code, _, err = command("experiment=mnist_bn", "optim.lr=0", python_options=["-X", "importtime"])
    assert code == 1
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "bn.config" in imported
    assert not imported & {"torch", "numpy", "wandb"}
