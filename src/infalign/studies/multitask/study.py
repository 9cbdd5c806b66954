"""InfAlign's regulariser in theory: the multi-task theorem, and the KL after the procedure."""

from infalign.studies.multitask.claims import CarriedLead, MultitaskGap, MultitaskReward
from infalign.study import Study

STUDY = Study("multitask", claims=(MultitaskGap, MultitaskReward, CarriedLead))
