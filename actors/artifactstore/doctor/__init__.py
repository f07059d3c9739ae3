"""What is wrong with a store and its settings, and what to do: inspect it, judge what was found, and change nothing."""

from artifactstore.doctor.checks import CHECKS, Diagnosis, examine
from artifactstore.doctor.inspecting import inspect_store
from artifactstore.doctor.inspection import Inspection

__all__ = ["CHECKS", "Diagnosis", "Inspection", "examine", "inspect_store"]
