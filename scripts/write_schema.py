"""Write the JSON schema of the configuration, for editors and readers."""

import json
from pathlib import Path

from infalign.catalogue import RunConfig
from infalign.records.command import run_command
from infalign.records.tables import write_text


def write_schema(out: Path, /) -> None:
    """Write the schema.

    Parameters
    ----------
    out : file to write, e.g. config/schema.json.
    """
    write_text(json.dumps(RunConfig.model_json_schema(), indent=1, ensure_ascii=False) + "\n", out)


if __name__ == "__main__":
    run_command(write_schema)
