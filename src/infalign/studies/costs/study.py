"""What a run would cost, from its configuration alone."""

from typing import Any

from infalign.study import Study

STUDY = Study(
    "costs",
    kind=dict[str, Any],
    default={},
    description="what its price is estimated from: `Costs` of infalign.records.costs (docs/costs.md)",
    recorded=False,
)
