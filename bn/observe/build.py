"""The observations of a config."""

from bn.config.choices import OBSERVATIONS, load
from bn.observe.observation import Observer, Subject


def build_observer(subject: Subject) -> Observer:
    """Those that `observe` names, of `subject`."""
    return Observer({name: load(OBSERVATIONS[name])(subject) for name in subject.config.observe})
