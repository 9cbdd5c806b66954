"""The command `infalign`: the same functions as the workflow, on tables and on the command line."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from infalign.cli.hedging import run_hedge
from infalign.cli.machine import run_doctor
from infalign.cli.planning import run_plan
from infalign.cli.tables import run_calibrate, run_frontier, run_winrate
from infalign.cli.theory import run_ideal, run_optimal, run_procedure
from infalign.errors import InputError

COMMANDS: dict[str, Callable[..., Any]] = {
    "ideal": run_ideal,
    "optimal": run_optimal,
    "procedure": run_procedure,
    "calibrate": run_calibrate,
    "winrate": run_winrate,
    "frontier": run_frontier,
    "hedge": run_hedge,
    "plan": run_plan,
    "doctor": run_doctor,
}
DESCRIPTION = "Inference-aware alignment: calibration, transforms, frontiers and win rates."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand, by default that of the command line, and return its exit code.

    0; 2 when the input cannot be used (one line on standard error says why). An unknown option or subcommand and
    `--help` exit with 2 and 0, by SystemExit.

    Examples
    --------
    >>> main(["procedure", "none"])
    {"procedure": "none", "kl": 0.0, "mean_quantile": 0.5}
    0
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _one_line
        try:
            _check_repeated(words)
            code: int = tyro.extras.subcommand_cli_from_dict(
                COMMANDS, prog="infalign", description=DESCRIPTION, args=words
            )
            sys.stdout.flush()
        except InputError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except BrokenPipeError:  # whoever read standard output has enough, as in `infalign ideal … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:  # a path that cannot be read or written; the system's text names it
            print(f"error: {error}; check the path and its permissions", file=sys.stderr)
            return 2
    return code or 0


def _check_repeated(words: Sequence[str]) -> None:
    """Refuse an option given twice: its first values would be lost."""
    options = [word.split("=")[0] for word in words if word.startswith("--")]
    for option in options:
        if options.count(option) > 1:
            raise InputError(f"{option} is given {options.count(option)} times; give it once with all its values")


def _one_line(message, category, *_, **__) -> None:
    print(f"warning: {message}", file=sys.stderr)
