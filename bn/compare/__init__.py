"""Runs side by side, from their directories alone: the subcommands of scripts/runs.py, and `bn.run.frame`."""
