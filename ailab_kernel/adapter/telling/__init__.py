"""What a reporting system is told of a study that was worked on: HL7 v2 ORU over MLLP, or a FHIR DiagnosticReport."""

from .report import Finding, Report, report_of
from .systems import SCHEMES, check, tell

__all__ = ["SCHEMES", "Finding", "Report", "check", "report_of", "tell"]
