"""The options of trusted packages, found by Hydra beside the project's own; see warmexp/config/plugins.py."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from warmexp.config.plugins import conf_folders


class TrustedOptions(SearchPathPlugin):
    """Appended: an option of the project is never replaced by another of the same name."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in conf_folders():
            search_path.append(provider="warmexp-plugins", path=f"file://{folder}")
