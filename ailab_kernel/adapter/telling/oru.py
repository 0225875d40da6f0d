"""A report as an HL7 v2.5.1 message ORU^R01 (chapter 7), UTF-8, one segment a line."""

from collections.abc import Sequence

from .report import WARNING, Report

_VERSION, _PROCEDURE = "2.5.1", "18748-4^Diagnostic imaging report^LN"
_VOLUME, _SITE, _UNIT = "118565006^Volume^SCT", "363698007^Finding site^SCT", "mL^milliliter^UCUM"
_UNSEEN = "P"                                  # preliminary (tables 0085 and 0123): nobody has verified it
# 2.7.1; the escape character first.
_ESCAPES = (("\\", "\\E\\"), ("|", "\\F\\"), ("^", "\\S\\"), ("&", "\\T\\"), ("~", "\\R\\"))
_SUB_ID = 20                                   # characters of OBX-4


def message(report: Report, *, receiver: str = "") -> bytes:
    """Return the message, segments ended by carriage returns.

    Parameters
    ----------
    report
        What is told; its UID is the message's control ID (MSH-10, its last 20 digits) and its filler number (OBR-3).
    receiver
        Receiving application (MSH-5).
    """
    when = f"{report.when:%Y%m%d%H%M%S}+0000"
    segments = [
        ("MSH|^~\\&", "AI-LAB", "", _plain(receiver), "", when, "", "ORU^R01^ORU_R01", control_id(report), "P",
         _VERSION, *[""] * 5, "UNICODE UTF-8"),
        _patient(report),
        _request(report, when),
        *_observations(report, when),
    ]  # fmt: skip
    return "".join("|".join(fields).rstrip("|") + "\r" for fields in segments).encode()


def control_id(report: Report) -> str:
    """Return MSH-10: 20 characters at most."""
    return report.uid.replace(".", "")[-20:]


def _patient(report: Report) -> Sequence[str]:
    header = report.header
    family, given, middle, prefix, suffix = (header["PatientName"].split("=")[0].split("^") + [""] * 5)[:5]
    name = "^".join(map(_plain, (family, given, middle, suffix, prefix)))         # XPN ends with suffix, prefix
    number = f"{_plain(header['PatientID'])}^^^{_plain(header['IssuerOfPatientID'])}".rstrip("^")
    sex = header["PatientSex"] if header["PatientSex"] in ("M", "F", "O") else "U"
    return "PID", "1", "", number, "", name, "", _plain(header["PatientBirthDate"]), sex


def _request(report: Report, when: str) -> Sequence[str]:
    header = report.header
    taken = _plain(header["StudyDate"] + header["StudyTime"].partition(".")[0])
    fields = {1: "1", 2: _plain(header["AccessionNumber"]), 3: report.uid, 4: _PROCEDURE, 7: taken, 22: when, 24: "RAD",
              25: _UNSEEN}  # fmt: skip
    return "OBR", *(fields.get(number, "") for number in range(1, 26))


def _observations(report: Report, when: str) -> list[Sequence[str]]:
    """Volume and site of each label share a sub-ID; then the study, the results and what they are worth."""
    rows = [("ST", "112002^Study Instance UID^DCM", "", _plain(report.header["StudyInstanceUID"]), "")]
    for finding in report.findings:
        sub, code = _plain(finding.label[:_SUB_ID]), finding.code
        rows.append(("NM", _VOLUME, sub, f"{finding.volume_ml:.1f}", _UNIT))
        rows.append(("CWE", _SITE, sub, "^".join(map(_plain, (code.value, code.meaning, code.scheme))), ""))
    rows += [("ST", "110181^SOP Instance UID^DCM", str(n), uid, "") for n, uid in enumerate(report.objects, 1)]
    rows += [("TX", "121106^Comment^DCM", "", _plain(f"{report.model}. {WARNING}"), "")]
    return [("OBX", str(n), kind, about, sub, value, unit, "", "", "", "", _UNSEEN, "", "", when)
            for n, (kind, about, sub, value, unit) in enumerate(rows, 1)]  # fmt: skip


def _plain(text: str) -> str:
    """A value with HL7's delimiters escaped; line ends and other control characters are blanks."""
    clean = "".join(one if one.isprintable() else " " for one in text)
    for character, escaped in _ESCAPES:
        clean = clean.replace(character, escaped)
    return clean
