"""Figure 3's table, from synthetic runs whose numbers can be checked by hand."""

import pytest

from experiments import collected, figure3
from experiments.drawing import RESULTS, differences, make
from tests.experiments.conftest import cells_of

STEPS = (100, 200, 300)
# The maxima of Inception are 0.6, at step 300, and 0.5, at 200: the level is 0.55.
ACCURACY = {
    "inception": ((0.2, 0.4, 0.6), (0.3, 0.5, 0.4)),
    "bn_baseline": ((0.3, 0.6, 0.65), (0.35, 0.45, 0.75)),
    "bn_x5": ((0.6, 0.7, 0.65), (0.5, 0.6, 0.7)),
    "bn_x30": ((0.5, 0.54, 0.56), (0.5, 0.54, 0.548)),
    "bn_x5_sigmoid": ((0.1, 0.3, 0.4), (0.12, 0.2, 0.3)),
    "inception_sigmoid": ((0.1, 0.1, 0.1), (0.1, 0.11, 0.105)),
}
POPULATION = {"bn_baseline": (0.66, 0.74), "bn_x5": (0.7, 0.7), "bn_x30": (0.56, 0.55)}


@pytest.fixture
def runs(ended_run):
    made = []
    for network, seeds in ACCURACY.items():
        populations = POPULATION.get(network, (None, None))
        for seed, (values, population) in enumerate(zip(seeds, populations, strict=True)):
            accuracy = dict(zip(STEPS, values, strict=True))
            made.append(ended_run(network, seed, accuracy, population=population))
    made.append(ended_run("inception_x5", 0, {}, end=40, diverged=True))
    made.append(ended_run("inception_x5", 1, {100: 0.25}, end=140, diverged=True))
    return made


def drawn(runs, tmp_path):
    """The cells of each network's row, and the whole text with the notes."""
    figure3.collect(runs, tmp_path)
    figure3.draw(tmp_path, tmp_path)
    text = (tmp_path / "table.md").read_text() + (tmp_path / "notes.md").read_text()
    return cells_of(tmp_path), text


def test_the_table_says_what_the_runs_say(runs, tmp_path):
    rows, text = drawn(runs, tmp_path)
    assert rows["network"][3:6] == [
        "ours (CIFAR-10): seeds", "ours: steps to 55.0%", "ours: times fewer"
    ]  # fmt: skip
    # The interval of two values is 12.706 times half their distance; of ratios it is so on their logarithms.
    assert {name: cells[4:] for name, cells in rows.items() if name != "network"} == {
        "Inception": ["250 ± 635", "1", "55.00 ± 63.53", "60.00, 40.00"],  # 20 points apart
        # 100 + 25 / 30 * 100 and 200 + 10 / 30 * 100; 300 / 183.3 = 1.636 and 200 / 233.3 = 0.857
        "BN-Baseline": ["208 ± 318", "1.18 (0.02 to 72.0)", "70.00 ± 63.53", "70.00 ± 50.82"],
        # the first evaluation is above the level, and halfway; 300 / 100 and 200 / 150
        "BN-x5": ["125 ± 318", "2.00 (0.01 to 346)", "70.00 ± 0.00", "70.00 ± 0.00"],
        "BN-x30": ["1 of 2 seeds: 250", "-", "55.40 ± 7.62", "55.50 ± 6.35"],
        "BN-x5-Sigmoid": ["never", "-", "35.00 ± 63.53", "35.00 ± 63.53"],
        "Inception at x5": ["never; diverged by step 40 to 140 (2 of 2)", "-", "10.00, 25.00", "-"],
        "Inception, sigmoid": ["never; at chance (2 of 2)", "-", "10.50 ± 6.35", "10.25 ± 3.18"],
    }
    assert "28 x 28 pixels and with a quarter of the filters, for 300 mini-batches of 32." in text
    assert {cells[3] for name, cells in rows.items() if name != "network"} == {"2"}
    assert "14 runs on made up, with torch " in text


def test_the_papers_numbers_stand_beside_ours(runs, tmp_path):
    rows, _ = drawn(runs, tmp_path)
    assert rows["network"][0] == "the paper (ImageNet): steps to 72.2%"
    assert {name: cells[:3] for name, cells in rows.items() if name != "network"} == {
        "Inception": ["31.0M", "1.0", "72.2"],
        "BN-Baseline": ["13.3M", "2.3", "72.7"],
        "BN-x5": ["2.1M", "14.8", "73.0"],
        "BN-x30": ["2.7M", "11.5", "74.8"],
        "BN-x5-Sigmoid": ["never", "-", "69.8"],
        "Inception at x5": ["never", "-", "reaches machine infinity"],
        "Inception, sigmoid": ["never", "-", "never above 0.1"],
    }


def test_ratios_of_steps_to_other_accuracies(runs, tmp_path):
    drawn(runs, tmp_path)
    cells = cells_of(tmp_path, "levels.md")
    own = "the seed's own maximum of Inception"
    assert cells["times fewer steps than Inception, to"] == ["40%", "45%", "50%", own]
    # Inception reaches 40% at steps 200 and 150; BN-Baseline at 133.3 and 150, 60% at 200 and 50% at 216.7
    assert cells["BN-Baseline"][0] == "1.22 (0.09 to 16.1)"
    assert cells["BN-Baseline"][3] == "1.18 (0.05 to 25.7)"
    assert cells["BN-x30"][3] == "-"  # a seed stays below the 60% of its pair


def test_with_a_larger_mini_batch_steps_are_counted_in_mini_batches_of_32(ended_run, tmp_path):
    runs = [
        ended_run("inception", 0, {100: 0.2, 200: 0.6, 300: 0.6}, batch=256),
        ended_run("bn_x5", 0, {100: 0.5, 200: 0.7, 300: 0.7}, population=0.69, batch=256),
        ended_run("inception_x5", 0, {}, end=40, diverged=True, batch=256),
    ]
    rows, text = drawn(runs, tmp_path)
    assert rows["Inception"][4:6] == ["1,600", "1"]
    assert rows["BN-x5"][4:6] == ["1,200", "1.33"]
    assert rows["Inception at x5"][4] == "never; diverged by step 320 (1 of 1)"
    assert "2,400 mini-batches of 32 in steps of 256." in text
    assert "**Steps** are mini-batches of 32 until the accuracy" in text


def test_a_base_that_learns_nothing_is_said_to(ended_run, tmp_path):
    runs = [ended_run("inception", seed, {100: 0.1, 200: 0.1, 300: 0.1}) for seed in (0, 1)]
    rows, _ = drawn([*runs, ended_run("inception", 2, {100: 0.3}, end=150, diverged=True)], tmp_path)
    assert rows["Inception"][4:] == [
        "100 ± 0; diverged by step 150 (1 of 3); at chance (2 of 3)", "1", "10.00, 10.00, 30.00",
        "10.00 ± 0.00 (2 of 3 seeds)",
    ]  # fmt: skip


def test_one_seed_has_no_interval(ended_run, tmp_path):
    runs = [
        ended_run("inception", 0, {100: 0.2, 200: 0.6, 300: 0.6}),
        ended_run("bn_x5", 0, {100: 0.6, 200: 0.7, 300: 0.7}, population=0.69),
    ]
    rows, _ = drawn(runs, tmp_path)
    assert rows["Inception"][3:] == ["1", "200", "1", "60.00", "60.00"]
    assert rows["BN-x5"][3:] == ["1", "100", "2.00", "70.00", "69.00"]


def test_the_ratio_is_that_of_the_seeds_of_which_both_networks_have_ended(ended_run, tmp_path):
    """The base needs 300, 200, 100 steps; BN-x5 needs 100 for seeds 0, 1 and 3: ratios 3 and 2."""
    base = [
        ended_run("inception", 0, {100: 0.2, 200: 0.4, 300: 0.6}),
        ended_run("inception", 1, {100: 0.2, 200: 0.6, 300: 0.5}),
        ended_run("inception", 2, {100: 0.6, 200: 0.5, 300: 0.5}),
    ]
    fast = [ended_run("bn_x5", seed, {100: 0.6, 200: 0.7, 300: 0.7}, population=0.7) for seed in (0, 1, 2, 3)]
    fast[2].set_status("interrupted", 200, "SIGTERM")
    rows, _ = drawn([*base, *fast], tmp_path)
    # sqrt(6) = 2.449, and exp(12.706 * log(1.5) / 2) = 13.15 times less and more
    assert rows["BN-x5"][3:6] == ["3", "100 ± 0", "2.45 (0.19 to 32.2), n = 2"]


def test_drawing_twice_gives_the_same_bytes(runs, tmp_path):
    figure3.collect(runs, tmp_path / "figure3")
    make("figure3", figure3, tmp_path)
    assert differences("figure3", figure3, tmp_path) == []


def test_the_committed_table_is_of_the_runs_of_figure_2():
    def of(name):
        rows = collected.read_csv(RESULTS / name / "final.csv")
        return [(row["network"], row["seed"], row["state"], row["step"]) for row in rows]

    assert of("figure2") == of("figure3")
    curves = [(RESULTS / name / "accuracy.csv").read_text() for name in ("figure2", "figure3")]
    assert curves[0] == curves[1]
