"""Every error AI-LAB raises on purpose, in one tree.

::

    AilabError                    exit 1   the act could not be done
    ├── WrongUse                  exit 2   the question itself is off; ask differently
    │   ├── SettingsError                  a setting: file, key and line are named
    │   ├── ParameterError                 a report or recipe parameter
    │   └── NameUnclear                    not a name, version or alias
    ├── NotFound                           nothing of that name here
    ├── MissingExtra                       an optional library is absent; the cure is named
    ├── ArchiveError                       the image archive
    │   ├── ArchiveUnreachable
    │   └── ArchiveRefused
    ├── DicomError                         bytes that are not the DICOM we can read
    ├── VolumeError                        slices that do not make a volume
    │   ├── MixedSeries
    │   └── IrregularSlices
    ├── ObjectError                        SEG, SR: cannot be written or read
    ├── DatasetError
    │   ├── Leakage                        one patient on both sides of a split
    │   └── NotDeidentified                refused at the gate
    ├── ModelError
    │   ├── AnswerImplausible              a network failed without a word; its answer is held
    │   ├── ModelChanged                   bytes no longer match their digest
    │   └── UnsafeModel                    a bundle that would run code
    ├── AnnotationError                drawing cannot go on
    │   ├── SessionTaken                   somebody else writes this session's journal
    │   └── JournalDamaged                 a record in the middle no longer matches its checksum
    ├── TrainingError
    ├── ReportError
    │   ├── ReportFailed
    │   └── ReplayDiffers
    ├── ExitBlocked                        a known identifier in what was about to leave
    ├── AdapterError                   the PACS's door
    │   ├── ProtocolBroken                 bytes that are not DICOM's upper layer
    │   └── PeerGone                       a peer closed, or stayed silent
    ├── ContextError                   what is known beside the images cannot be read
    ├── JobError
    │   └── ChildDied                      what ran took its process down
    └── CatalogError
        └── SealBroken                     a signature or digest does not hold

A message says what was given, what was expected and what to do next, in one line. It never holds a patient's
name or ID: UIDs and pseudonyms only.
"""


class AilabError(Exception):
    """Root of every deliberate error; ``exit_code`` is what the command line returns."""

    exit_code = 1


class WrongUse(AilabError):
    """The request cannot be understood as asked (exit 2)."""

    exit_code = 2


class SettingsError(WrongUse):
    """A setting is unknown or has a wrong value; the message names file, key and line."""


class ParameterError(WrongUse):
    """A report or recipe parameter is unknown, missing or of the wrong type."""


class NameUnclear(WrongUse):
    """The text is no valid name, version or alias."""


class NotFound(AilabError):
    """Nothing of that name, version, alias or UID exists here."""


class MissingExtra(AilabError):
    """An optional library is not installed; the message says which extra installs it."""


class ArchiveError(AilabError):
    """The image archive could not do what was asked."""


class ArchiveUnreachable(ArchiveError):
    """No answer from the archive's address."""


class ArchiveRefused(ArchiveError):
    """The archive answered no."""


class DicomError(AilabError):
    """Bytes that are not DICOM, or not DICOM that we can read."""


class VolumeError(AilabError):
    """Slices that do not make one volume."""


class MixedSeries(VolumeError):
    """Instances of more than one series, orientation or frame of reference."""


class IrregularSlices(VolumeError):
    """Uneven spacing, gaps, duplicates or tilt."""


class ObjectError(AilabError):
    """A derived object (SEG, SR) that cannot be written or read."""


class DatasetError(AilabError):
    """A dataset that cannot be frozen or used."""


class Leakage(DatasetError):
    """The same patient, or the same pixels, on two sides of a split."""


class NotDeidentified(DatasetError):
    """A clinical study without PatientIdentityRemoved YES (0012,0062) and without a stated reason."""


class ModelError(AilabError):
    """A model bundle that cannot be used."""


class AnswerImplausible(ModelError):
    """A network's answer cannot be one for this kind of image: nothing found at all, or no numbers; it is held."""


class ModelChanged(ModelError):
    """Stored bytes of a model no longer match their recorded SHA-256."""


class UnsafeModel(ModelError):
    """A bundle that would need code of its own to run."""


class AnnotationError(AilabError):
    """A drawing session cannot go on."""


class SessionTaken(AnnotationError):
    """Another process writes the session's journal; the message says who and how to take over."""


class JournalDamaged(AnnotationError):
    """A record in the middle of a journal no longer matches its checksum; nothing was changed."""


class TrainingError(AilabError):
    """Training cannot start or go on."""


class ReportError(AilabError):
    """A report run went wrong."""


class ReportFailed(ReportError):
    """A report's notebook ended with an error; finished cases are kept."""


class ReplayDiffers(ReportError):
    """A replayed report is not identical to its original."""


class ExitBlocked(AilabError):
    """A known identifier stands in what was about to be saved, sealed or exported; the places are named."""


class AdapterError(AilabError):
    """The PACS's door could not do what was asked."""


class ProtocolBroken(AdapterError):
    """A peer sent what is no PDU or command of DICOM."""


class PeerGone(AdapterError):
    """A peer closed its connection, or stayed silent for too long."""


class ContextError(AilabError):
    """What is known of a patient beside the images cannot be read."""


class JobError(AilabError):
    """A queued job cannot be submitted or run."""


class ChildDied(JobError):
    """What ran in a child process took it down; it may have been the machine's fault, and is worth another try."""


class CatalogError(AilabError):
    """The catalog refused or failed."""


class SealBroken(CatalogError):
    """A signature or digest does not hold."""
