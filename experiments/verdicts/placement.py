"""The rules on where the normalization goes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from experiments import collected, placement
from experiments.placement import SAME_RATE, Moved, Network
from experiments.verdicts.judged import Judged, clearly, graded, rule


def _less(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """The second minus the first, by seed."""
    return [b - a for a, b in zip(one, other, strict=True)]


@rule(29)
def _input_moves_more(results: Path) -> Judged:
    folder = results / "placement"
    movements = placement.read_movements(folder)
    same = SAME_RATE["sigmoid"]
    pairs = {"at the same rate": (same, same), "each at its best": _best(folder, "before", "input")}
    more, shown = [], []
    for name, (before, on_input) in pairs.items():
        less = [
            _less(_all_layers(movements, ("before", "sigmoid", before), measure),
                  _all_layers(movements, ("input", "sigmoid", on_input), measure))
            for measure in (_absolute, _in_spreads)
        ]  # fmt: skip
        more += less
        shown.append(f"{name} {_both(less)}")
    return graded(
        all(clearly(one) > 0 for one in more), all(fmean(one) > 0 for one in more),
        f"with BN on u the inputs to the sigmoids move more: {'; '.join(shown)}",
    )  # fmt: skip


def _best(folder: Path, *places: str) -> tuple[float, ...]:
    return tuple(placement.best_rate(folder, place) for place in places)


def _absolute(moved: Moved) -> list[float]:
    return moved.absolute


def _in_spreads(moved: Moved) -> list[float]:
    return moved.in_spreads


def _all_layers(
    movements: Mapping[Network, Mapping[int, Moved]],
    network: Network,
    measure: Callable[[Moved], list[float]],
) -> list[float]:
    return placement.over_layers([measure(moved) for moved in movements[network].values()])


def _both(less: Sequence[Sequence[float]]) -> str:
    absolute, in_spreads = (collected.mean_text(one, 2, "+") for one in less)
    return f"{absolute}, in spreads {in_spreads}"


@rule(30)
def _affine_is_more_gaussian(results: Path) -> Judged:
    shapes = placement.read_shapes(results / "placement")
    compared = [
        _less(affine, u)
        for nonlinearity, rate in SAME_RATE.items()
        for place in ("none", "before")
        for layer in (2, 3)
        for affine, u in zip(
            shapes[place, nonlinearity, rate][layer, "affine"],
            shapes[place, nonlinearity, rate][layer - 1, "output"],
            strict=True,
        )
    ]
    clear = sum(clearly(less) > 0 for less in compared)
    return graded(
        clear == len(compared), clear > len(compared) / 2,
        f"clearly smaller for Wu + b in {clear} of {len(compared)} comparisons",
    )  # fmt: skip


def _relu_sparsity(results: Path, place: str, where: str) -> list[float]:
    """The mean over the hidden layers, seed by seed."""
    shapes = placement.read_shapes(results / "placement")[place, "relu", SAME_RATE["relu"]]
    return placement.over_layers([shape.sparsity for (_, at), shape in shapes.items() if at == where])


@rule(73)
def _sparser_after(results: Path) -> Judged:
    before, after = (_relu_sparsity(results, place, "output") for place in ("before", "after"))
    more = _less(before, after)
    shown = [collected.mean_text([100 * value for value in one], 1) for one in (after, before)]
    return graded(
        clearly(more) > 0, fmean(more) > 0,
        f"{shown[0]}% of the activations are near zero with BN after the ReLU, {shown[1]}% before it",
    )  # fmt: skip


@rule(74)
def _inputs_not_sparse(results: Path) -> Judged:
    shares = [_relu_sparsity(results, place, "input") for place in ("before", "none")]
    low = [fmean(share) < 0.05 for share in shares]
    shown = [collected.mean_text([100 * value for value in share], 1) for share in shares]
    return graded(
        all(low),
        any(low),
        f"{shown[0]}% of the inputs to the ReLU are near zero with BN, {shown[1]}% without",
    )


@rule(75)
def _stabler_before(results: Path) -> Judged:
    movements = placement.read_movements(results / "placement")
    clear: dict[int, list[bool]] = {}
    shown = []
    for nonlinearity, rate in SAME_RATE.items():
        before, after = (movements[place, nonlinearity, rate] for place in ("before", "after"))
        for layer in sorted(before):
            less = [_less(*pair) for pair in zip(before[layer], after[layer], strict=True)]
            clear.setdefault(layer, []).extend(clearly(one) > 0 for one in less)
            shown.append(f"{nonlinearity}, layer {layer}, {_both(less)}")
    layers = [all(each) for each in clear.values()]
    return graded(
        all(layers),
        layers[-1],
        "less movement with BN before it, at the same rate (0.5 with sigmoids, 0.1 with ReLUs): "
        + "; ".join(shown),
    )
