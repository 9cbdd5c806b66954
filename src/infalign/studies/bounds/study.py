"""The lower bound of variational best-of-N, for listed distributions."""

from infalign.studies.bounds.claims import BoundSlack
from infalign.study import Study

STUDY = Study("bounds", claims=(BoundSlack,))
