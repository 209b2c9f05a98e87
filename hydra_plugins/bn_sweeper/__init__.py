"""Hydra's sweeper, with every member checked before the first starts and the finished ones dropped."""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from bn import launch


class CheckedSweeper(BasicSweeper):
    def sweep(self, arguments: list[str]) -> Any:
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        (members,) = self.split_arguments(parsed, max_batch_size=None)
        unfinished = launch.unfinished_members(members)
        if not unfinished:
            return []
        results = self.launcher.launch(unfinished, initial_job_idx=0)
        launch.outcomes[:] = [result.return_value for result in results]
        return [results]
