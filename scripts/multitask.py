"""Two remarks of InfAlign on its regulariser, in numbers: theorem 4, and regularising T(π) against T(π_ref)."""

from pathlib import Path

from infalign.records.command import run_command
from infalign.records.tables import write_table
from infalign.studies.multitask.tables import OTHER_TRANSFORMS, change_of_variables_table, multitask_table


def multitask(*, out: Path, change_of_variables: Path, n_tasks: int = 20, seed: int = 0) -> None:
    """Write how regularised alignment compares with the multi-task, and with standard alignment.

    Parameters
    ----------
    out, change_of_variables : Path
        Tables to write.
    n_tasks : int
        Random log-linear tasks.
    seed : int
        Of the tasks.
    """
    write_table(multitask_table(n_tasks, seed), out, {"seed": seed})
    write_table(change_of_variables_table(), change_of_variables, {"transforms": OTHER_TRANSFORMS})


if __name__ == "__main__":
    run_command(multitask)
