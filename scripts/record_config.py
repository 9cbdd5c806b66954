"""Write the resolved configuration of a run, for the jobs that conclude from it."""

from pathlib import Path

from infalign.records.command import run_command
from infalign.records.config import parse_config_json
from infalign.records.tables import write_atomically


def record_config(config: str, /, *, out: Path) -> None:
    """Check a configuration and write it.

    Parameters
    ----------
    config : the configuration as JSON.
    out : file to write.
    """
    text = parse_config_json(config).model_dump_json(indent=1) + "\n"
    write_atomically(out, lambda partial: partial.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    run_command(record_config)
