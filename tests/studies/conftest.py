"""The world of known numbers that the tests of presentation have too."""

from presentation.conftest import *  # noqa: F403
