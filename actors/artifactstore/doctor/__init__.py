"""The doctor: read-only checks of a store and its settings, with a remedy for each problem."""

from artifactstore.doctor.checks import CHECKS, Diagnosis, examine
from artifactstore.doctor.inspecting import inspect_store
from artifactstore.doctor.inspection import Inspection

__all__ = ["CHECKS", "Diagnosis", "Inspection", "examine", "inspect_store"]
