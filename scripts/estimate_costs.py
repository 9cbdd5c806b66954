"""Price a run before anything is spent: GPU hours, disk and memory of each stage."""

from pathlib import Path

from infalign.presentation.costs import cost_lines
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.config import read_config
from infalign.records.cost_table import cost_table, unpriced
from infalign.records.costs import Costs
from infalign.records.tables import write_atomically, write_table


def estimate_costs(config: Path, /, *, costs: str, out: Path, text: Path) -> None:
    """Write what each stage of a run costs.

    Parameters
    ----------
    config : the run's configuration.
    costs : JSON of the configuration's block `costs`.
    out : table to write.
    text : the same for reading, to write.
    """
    run, block = read_config(config), parse_block(Costs, costs)
    table = cost_table(run, block)
    device = block.device if isinstance(block.device, str) else "as given"
    lines = cost_lines(table, device=device, memory=block.speed().memory, unpriced=unpriced(run))
    write_table(table, out, {"costs": block.model_dump(mode="json")})
    write_atomically(text, lambda partial: partial.write_text("\n".join(lines) + "\n", encoding="utf-8"))


if __name__ == "__main__":
    run_command(estimate_costs)
