"""Calibrations of task helpful whose errors and win rates are known."""

import numpy as np
import polars as pl

from infalign.studies.calibration.tables import CALIBRATION_SCHEMAS
from presentation.stored_tables import Tables

VALUES = {  # calibrator, rollouts: error and win rate at KL 0.5
    (None, None): (0.2, 0.70),
    ("anchors(1)", 1): (0.21, 0.69),
    ("anchors(1)", 100): (0.12, 0.72),
    ("anchors(2)", 100): (0.08, 0.75),
    ("anchors(10)", 100): (0.06, 0.76),
    ("empirical", 100): (0.06, 0.77),
}
NAMES = [f"p{i}" for i in range(30)]
WAVE = 0.01 * (-1.0) ** np.arange(30)


def of_case(case, facts, **values):
    frame = pl.DataFrame({**facts, **values})
    calibrator, n = (pl.lit(case[0], pl.String), pl.lit(case[1], pl.Int64))
    return frame.with_columns(calibrator=calibrator, n_rollouts=n)


def stacked(name, parts):
    return pl.concat([part.select(*CALIBRATION_SCHEMAS[name]) for part in parts])


def known_tables():
    errors, points = [], []
    for case, (error, rate) in VALUES.items():
        errors.append(of_case(case, {"task": "helpful"}, prompt_id=NAMES, error=error + WAVE))
        facts = {
            "task": "helpful",
            "transform": "raw" if case[0] is None else "exp(10)",
            "procedure": "bon(4)",
        }
        for scorer, shift in (("judge", 0.0), ("gold", 0.02)):
            points.append(
                of_case(
                    case,
                    {**facts, "scorer": scorer, "kl": 0.5},
                    prompt_id=NAMES,
                    win_rate=rate + shift + WAVE,
                )
            )
    return Tables(
        prompt_calibration_error=stacked("prompt_calibration_error", errors),
        prompt_calibration_frontier=stacked("prompt_calibration_frontier", points),
    )
