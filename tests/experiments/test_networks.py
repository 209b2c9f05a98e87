"""The networks that count as failed: those that do no better than guessing."""

import numpy as np
import pytest

from experiments.networks import VALIDATION, Training, epochs, evaluated_images


def training(classes, images, accuracy):
    accuracy = np.array(accuracy, dtype=float)
    steps = np.arange(1, len(accuracy) + 1)
    return Training("inception_sigmoid", 0, "done", len(steps), classes, images, steps, accuracy, None)


@pytest.mark.parametrize(
    ("classes", "images", "evaluations"), [(10, 10_000, 60), (1000, 50_000, 30), (10, 500, 1)]
)
def test_one_guessing_run_in_a_thousand_is_not_taken_to_be_at_chance(classes, images, evaluations):
    """At most about 20 of 20,000 runs whose evaluations are independent guesses, and not many fewer.

    Guesses are binomial, whose tail is heavier than the normal one where images / classes is small.
    """
    guesses = np.random.default_rng(0).binomial(images, 1 / classes, (20_000, evaluations)) / images
    left = sum(not training(classes, images, row).at_chance for row in guesses)
    assert 5 <= left <= 80


def test_a_network_that_learned_a_little_is_not_at_chance():
    """The 0.1% quantile of three evaluations of 10,000 guesses is 0.1 + 3.403 x 0.003."""
    assert training(10, 10_000, [0.1, 0.1102, 0.1]).at_chance
    assert not training(10, 10_000, [0.1, 0.1103, 0.1]).at_chance


def test_more_images_reveal_a_smaller_difference():
    assert training(10, VALIDATION["smoke"], [0.12]).at_chance
    assert not training(10, VALIDATION["cifar10"], [0.12]).at_chance


def test_held_out_images_are_neither_trained_on_nor_the_validation_images():
    config = {"data.name": "cifar10", "data.validation": 0, "optim.batch": 64, "optim.lr_batch": 32}
    assert (evaluated_images(config), epochs(15_625, config)) == (10_000, 10.0)
    config["data.validation"] = 5000
    assert (evaluated_images(config), epochs(14_062.5, config)) == (5000, 10.0)


def test_the_accuracy_at_the_end_is_that_with_population_statistics_where_there_is_bn():
    plain = training(10, 500, [0.3, 0.5, 0.4])
    assert plain.final == 0.4
    assert plain._replace(population=0.45).final == 0.45
    assert plain._replace(state="diverged").final is None


def test_a_diverged_run_is_counted_as_that():
    assert not training(10, 500, [])._replace(state="diverged").at_chance
