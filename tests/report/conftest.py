"""The runs that the analysis is tested on are shown by the report, too."""

from tests.analysis.conftest import *  # noqa: F403
from tests.report.pages import browser, file, opened  # noqa: F401
