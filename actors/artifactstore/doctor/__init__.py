"""What is wrong with a store and its settings, and what to do: looking first, then judging, and changing nothing."""

from artifactstore.doctor.checks import CHECKS, Diagnosis, examine
from artifactstore.doctor.looking import look
from artifactstore.doctor.sight import Sight

__all__ = ["CHECKS", "Diagnosis", "Sight", "examine", "look"]
