"""The subcommands of scripts/runs.py and `bn.run.frame`. They read only run directories."""
