"""The kinds of claims that belong to no study."""

from infalign.presentation.measures.base import NotRun
from infalign.presentation.measures.frontiers import (
    CalibrationError,
    CurveDifference,
    DifferenceGrowth,
    IdealDifference,
    MedianShare,
    OfflineDifference,
)
from infalign.presentation.measures.variational import FrontShare, GainKept, KLExcess, SecondsRatio

CORE_CLAIMS = (
    CurveDifference,
    DifferenceGrowth,
    OfflineDifference,
    IdealDifference,
    CalibrationError,
    MedianShare,
    FrontShare,
    GainKept,
    KLExcess,
    SecondsRatio,
    NotRun,
)
