"""What the run would cost, from its configuration alone."""

from infalign.studies.costs.block import Costs, costs_problems
from infalign.study import Study

STUDY = Study(
    "costs",
    kind=Costs,
    default=Costs(),
    description="what its costs are estimated from (docs/costs.md)",
    recorded=False,
    problems=lambda costs, config: costs_problems(costs, config.tasks),
)
