"""The README and docs/: links resolve, commands exist, and numbers are those in results/."""

import contextlib
import functools
import io
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bn import cli
from bn.evaluate.config import evaluation_from
from bn.files import REPOSITORY
from experiments.drawing import page_with_tables
from scripts.make_figures import DRAWN
from tests.conftest import slowly

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "notebooks" / "README.md",
    REPOSITORY / "scripts" / "slurm" / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
BLOCK = re.compile(r"<!-- begin \S+ -->.*?<!-- end -->", re.DOTALL)
STARTED = re.compile(
    r"(?:python3?|torchrun(?: --\S+)*|sbatch|srun .*?python3?) (\S+\.(?:py|sbatch))(?: (.*))?$"
)
LONGEST_README = 200  # lines


def str_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


class Command(NamedTuple):
    page: str
    program: str  # relative to the repository
    arguments: tuple[str, ...]


def text_of(page: Path) -> str:
    """The page without its code blocks."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in HEADING.findall(text_of(page)):
        words = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = sum(re.fullmatch(rf"{re.escape(words)}(-\d+)?", other) is not None for other in found)
        found.add(f"{words}-{number}" if number else words)
    return found


def commands() -> Iterator[Command]:
    for page in PAGES:
        text = page.read_text()
        blocks = "".join(FENCE.findall(text)).replace("\\\n", " ")
        for code in (*blocks.splitlines(), *INLINE.findall(FENCE.sub("", text))):
            for part in code.split("#")[0].split("&&"):
                found = STARTED.match(part.strip())
                if found and not re.search(r"\.\.\.|<", part):  # no placeholders
                    yield Command(str_of(page), found[1], tuple(shlex.split(found[2] or "")))


COMMANDS = sorted(set(commands()))
# The page on extending names what its reader adds first; tests/docs/test_extending.py runs it.
ON_EXTENDING = "docs/extending.md"
TRAININGS = [
    each for each in COMMANDS if each.program == "train.py" and each.arguments and each.page != ON_EXTENDING
]


def ids(command: Command) -> str:
    return f"{command.page}: {command.program} {' '.join(command.arguments)}"


def test_pages_hold_commands_of_each_kind() -> None:
    assert {"train.py", "evaluate.py", "scripts/reproduce.py", "scripts/runs.py"} <= {
        command.program for command in COMMANDS
    }


@pytest.mark.parametrize("page", PAGES, ids=str_of)
def test_links_resolve(page: Path) -> None:
    broken = []
    for link in LINK.findall(text_of(page)):
        if re.match(r"\w+:", link):  # external
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall((REPOSITORY / "README.md").read_text())}
    assert {f"docs/{page.name}" for page in (REPOSITORY / "docs").glob("*.md")} <= linked


@pytest.mark.parametrize(
    "command", [*TRAININGS[:6], *slowly(*((command,) for command in TRAININGS[6:]))], ids=ids
)
def test_trainings_compose(command: Command) -> None:
    """Compose the config; of a sweep, the first and the last member (all are composed elsewhere)."""
    check_training(command.arguments)


def check_training(arguments: tuple[str, ...]) -> None:
    overrides = [argument for argument in arguments if argument != "-m"]
    if overrides[:1] == ["--help"]:
        return
    assert not [argument for argument in overrides if argument.startswith("-")]
    with initialize_config_dir(str(cli.CONFIGS), version_base="1.3"):
        params = {}
        if sweep := [argument for argument in overrides if argument.startswith("sweep=")]:
            params = cli.composed_config(sweep).hydra.sweeper.params
        if params or "-m" in arguments:
            members = cli.members(params, overrides)
            overrides = members[-1]
            cli.planned_run(members[0])
        cli.planned_run(overrides)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.program == "evaluate.py"], ids=ids)
def test_evaluations_compose(command: Command) -> None:
    with initialize_config_dir(str(cli.CONFIGS), version_base="1.3"):
        # As evaluate.py reads it.
        overrides = ["json=true" if argument == "--json" else argument for argument in command.arguments]
        mapping = OmegaConf.to_container(compose("evaluate", overrides), resolve=True)
    assert isinstance(mapping, dict)
    mapping.pop("data")
    evaluation_from({str(key): value for key, value in mapping.items()})


@pytest.mark.parametrize("command", [c for c in COMMANDS if "/" in c.program], ids=ids)
def test_scripts_know_their_options(command: Command) -> None:
    program, arguments = command.program, command.arguments
    assert (REPOSITORY / program).is_file()
    if program.endswith(".sbatch"):
        check_training(arguments)
        return
    if program.endswith("throwaway_cluster.py") and arguments[:1] == ("python",):
        program, *rest = arguments[1:]  # a command of its own follows
        arguments = tuple(rest)
        assert (REPOSITORY / program).is_file()
    options = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
    assert options <= set(re.findall(r"--[\w-]+", help_of(program)))
    if program in ("scripts/reproduce.py", "scripts/make_figures.py"):
        names = [argument for argument in arguments if not argument.startswith("--") and "=" not in argument]
        assert set(names) <= DRAWN.keys()


@functools.cache
def help_of(program: str) -> str:
    """The output of the program's --help, in this process, so that imports are shared."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setattr(sys, "argv", [program, "--help"])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(REPOSITORY / program), run_name="__main__")
    assert stop.value.code == 0
    return output.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=str_of)
def test_intervals_in_the_prose_are_those_of_the_tables(page: Path) -> None:
    tables = "".join(path.read_text() for path in (REPOSITORY / "results").glob("*/*.md"))
    found = re.findall(r"\d[\d.,]* ± [\d.,]*\d", BLOCK.sub("", text_of(page)))
    assert [number for number in found if number not in tables] == []


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", PAGES, ids=str_of)
def test_tables_are_filled(page: Path) -> None:
    now, wanted = page_with_tables(page)
    assert now == wanted
