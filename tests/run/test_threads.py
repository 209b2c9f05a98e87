"""The config sets the number of threads, on which the bits depend, whatever the environment says."""

import torch


def test_the_number_of_threads_is_the_configs(trained):
    seen = set()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        trained("experiment=mnist_bn", "steps=2", stop_signal=lambda: seen.add(torch.get_num_threads()))
    finally:
        torch.set_num_threads(before)
    assert seen == {1}
