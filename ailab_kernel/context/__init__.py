"""What is known of a patient beside the images, so that a rule can hold a study back: a FHIR R4 reader.

Absent by default: it is asked only where the plan names a server and who permitted it, and every question is a line of
the audit trail. What it answers stays in the process that asked.
"""

from .fhir import FhirServer
from .known import KINDS, Kind, Known, met

__all__ = ["KINDS", "FhirServer", "Kind", "Known", "met"]
