"""How a script or command runs a function: arguments from its signature, one clear line for bad input."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

import tyro

from infalign.errors import InputError


def run_command(main: Callable[..., None]) -> None:
    """Run `main` with arguments from the command line; exit with 2 and one message if the input cannot be used."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        tyro.cli(main)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
