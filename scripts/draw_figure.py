"""Draw one figure from a run's tables."""

import json
from pathlib import Path
from pkgutil import resolve_name

from infalign.presentation.panels import save_figure
from infalign.records.command import run_command
from infalign.records.run_tables import RunTables


def draw_figure(name: str, /, *, draw: str, options: str = "{}", run: Path, tasks: Path) -> None:
    """Draw a figure as SVG and PNG into the run's folder `figures`.

    Parameters
    ----------
    name : of the figure, e.g. transforms.
    draw : module:function that draws it.
    options : JSON of the function's further arguments.
    run : folder of the run, with its configuration and tables.
    tasks : folder of the shared results.
    """
    figure = resolve_name(draw)(RunTables(run, tasks), **json.loads(options))
    save_figure(figure, run / "figures" / name)


if __name__ == "__main__":
    run_command(draw_figure)
