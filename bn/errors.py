"""The exceptions that are not programming errors."""


class UserError(Exception):
    """A mistake the user can mend; one line: the key or file, the value, and what would be right."""


class Interrupted(Exception):
    """A run was told to stop, and everything up to its last step is saved."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


class Diverged(Exception):
    """A result, not a failure: training left the finite numbers (section 4.2.2 reports such a run)."""
