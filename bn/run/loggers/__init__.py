"""The numbers of a run to W&B and TensorBoard as well, while it trains; neither can hurt the run.

`logger` in the config says which, and each has a file here. The run's own records do not depend on them.
"""

from bn.run.loggers.chosen import Loggers, check_loggers, open_loggers

__all__ = ["Loggers", "check_loggers", "open_loggers"]
