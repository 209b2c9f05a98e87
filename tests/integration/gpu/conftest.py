"""A failure is printed when it happens: time on a GPU is short, and a call may be cut before the summary."""


class AtOnce:
    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and reporter is not None:
            reporter.write_line(f"\n{report.nodeid}, {report.when}:\n{report.longreprtext}")


def pytest_configure(config):
    config.pluginmanager.register(AtOnce(config))
