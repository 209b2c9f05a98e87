"""The ledger of the paper's checkable claims: how each is tested, on what, and the verdict.

    python scripts/make_figures.py claims     results/claims, from the committed records and the tests

experiments/claims.yaml lists the claims, each with the tests that prove it, or with the records and the rule
that decide. A rule was committed before its runs, unless the claim is marked as `known`. experiments/verdicts
applies each rule to the records: confirmed, partly or not confirmed. A claim is open while its records are
missing, and not testable if this repository cannot test it. A claim proved by tests is confirmed as long as
these exist; pytest runs them with all others.
"""

import ast
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bn.errors import UserError
from bn.files import REPOSITORY
from experiments import collected
from experiments.verdicts import CONFIRMED, NOT_CONFIRMED, PARTLY, RULES, Judged

CLAIMS = Path(__file__).with_suffix(".yaml")
OPEN, NOT_TESTABLE = "open", "not testable here"
VERDICTS = (CONFIRMED, PARTLY, NOT_CONFIRMED, OPEN, NOT_TESTABLE)


def draw(folder: Path, out: Path) -> None:
    """Write table.md and claims.csv. UserError for a claim whose tests do not exist."""
    claims = read_claims()
    judged = [judge(claim, folder.parent) for claim in claims]
    rows = [
        (
            claim["number"], claim["section"], claim["claim"], claim.get("how", claim.get("untestable")),
            *one, " ".join(evidence(claim)), "yes" if claim.get("known") else "no",
        )
        for claim, one in zip(claims, judged, strict=True)
    ]  # fmt: skip
    header = ("number", "section", "claim", "how", "verdict", "result", "evidence", "rule_after_records")
    collected.write_csv(out / "claims.csv", header, rows)
    (out / "table.md").write_text(_table(claims, judged))


def read_claims() -> list[dict[str, Any]]:
    return yaml.safe_load(CLAIMS.read_text())


def judge(claim: dict[str, Any], results: Path) -> Judged:
    if "tests" in claim:
        check_tests(claim)
        return Judged(CONFIRMED, f"{len(claim['tests'])} test{'s' * (len(claim['tests']) > 1)}")
    if "untestable" in claim:
        return Judged(NOT_TESTABLE, claim["untestable"])
    apply = RULES.get(claim["number"])
    if apply is None or not all((results / name).exists() for name in claim["records"]):
        return Judged(OPEN, "")
    return apply(results)


def check_tests(claim: dict[str, Any]) -> None:
    """UserError if a test of the claim does not exist."""
    for test in claim["tests"]:
        path, _, name = test.partition("::")
        file = REPOSITORY / path
        names = (
            [node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)]
            if file.exists()
            else []
        )
        if name not in names:
            raise UserError(f"experiments/claims.yaml: claim {claim['number']}: {test}: no such test")


def evidence(claim: dict[str, Any]) -> list[str]:
    """The tests or the folders of results/ that decide the claim."""
    return [*claim.get("tests", ()), *(f"results/{name}" for name in claim.get("records", ()))]


def _table(claims: Sequence[dict[str, Any]], judged: Sequence[Judged]) -> str:
    number = Counter(one.verdict for one in judged)
    summary = ", ".join(f"{number[verdict]} {verdict}" for verdict in VERDICTS if number[verdict])
    lines = [
        f"{len(claims)} claims: {summary}.",
        "",
        "| | section | claim | tested by | result | verdict |",
        "|--:|---|---|---|---|---|",
    ]
    for claim, one in zip(claims, judged, strict=True):
        links = [
            f"[{Path(item.partition('::')[0]).stem}](../../{item.partition('::')[0]})"
            for item in dict.fromkeys(item.partition("::")[0] for item in evidence(claim))
        ]
        how = f"{claim['how']} {', '.join(links)}" if links else ""
        star = "*" if claim.get("known") else ""
        lines.append(
            f"| {claim['number']}{star} | {claim['section']} | {claim['claim']} | {how} | {one.result} "
            f"| **{one.verdict}** |"
        )
    note = (
        "The rule of each verdict is in [experiments/claims.yaml](../../experiments/claims.yaml). "
        "(*) The records existed before the rule was written."
    )
    return "\n".join(lines) + f"\n\n{note}\n"
