"""The number of threads is the config's, whatever the process was started with: the bits depend on it."""

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
