"""Record the configuration of a run, for the jobs that conclude from it."""

import json
from pathlib import Path

from infalign.records.command import run_command
from infalign.records.tables import write_text


def record_config(config: str, /, *, out: Path) -> None:
    """Write a configuration that was checked when the run was planned.

    Parameters
    ----------
    config : the configuration as JSON.
    out : file to write.
    """
    write_text(json.dumps(json.loads(config), indent=1, ensure_ascii=False) + "\n", out)


if __name__ == "__main__":
    run_command(record_config)
