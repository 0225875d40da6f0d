"""Reads a patient's conditions, procedures, implants and medications from a FHIR R4 server (HL7 FHIR 4.0.1)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ailab_kernel.ground.errors import ContextError, SettingsError
from ailab_kernel.ground.references import secret

from .known import KINDS, Kind, Known

if TYPE_CHECKING:
    from requests import Session

_TIMEOUT_S = 15.0
_MOST_PAGES = 200                              # of one resource


@dataclass(frozen=True)
class _Resource:
    """Where a kind lies: resource, elements with its concept, and values that say it is not so (FHIR R4)."""

    name: str
    concepts: tuple[str, ...]
    denied: Mapping[str, tuple[str, ...]]


_ERROR = ("entered-in-error",)
_DRUG = ("medicationCodeableConcept", "medicationReference")
_RESOURCES: Mapping[Kind, tuple[_Resource, ...]] = {
    "condition": (_Resource("Condition", ("code",), {"verificationStatus": ("refuted", *_ERROR)}),),
    "procedure": (_Resource("Procedure", ("code",), {"status": ("not-done", *_ERROR)}),),
    "implant": (_Resource("Device", ("type",), {"status": _ERROR}),),
    "medication": (_Resource("MedicationStatement", _DRUG, {"status": ("not-taken", *_ERROR)}),
                   _Resource("MedicationRequest", _DRUG, {"status": ("cancelled", *_ERROR)})),
}  # fmt: skip


@dataclass(frozen=True)
class FhirServer:
    """A server and what identifies our patients there.

    Attributes
    ----------
    url
        Base, ``https://fhir.example/r4``.
    patient_system
        Identifier system of the archive's PatientID (0010,0020), a URI.
    token
        Reference to a bearer token (``env:NAME``, ``file:/PATH``, ``keyring:SERVICE/NAME``); empty for none.
    ca
        File with the authority that signs the server's certificate; empty for the system's own.
    """

    url: str
    patient_system: str
    token: str = ""
    ca: str = ""

    def check(self) -> None:
        """Say whether token and authority are where they are told to be; the server is not asked."""
        if self.token:
            secret(self.token, what="token")
        if self.ca and not Path(self.ca).is_file():
            msg = f"ca = {self.ca!r} is no file"
            raise SettingsError(msg)

    def known(self, patient_id: str, kinds: tuple[Kind, ...] = KINDS) -> tuple[Known, ...]:
        """Return what is known of a patient.

        Parameters
        ----------
        patient_id
            PatientID (0010,0020).
        kinds
            What is asked for; nothing else is read.

        Raises
        ------
        ContextError
            The server does not answer, refuses, or does not know exactly one such patient: never "nothing is known".
        """
        import requests

        try:
            with requests.Session() as session:
                session.trust_env = False      # no proxy and no .netrc come between: the token is for the server
                session.verify = self.ca or True
                session.headers["Accept"] = "application/fhir+json"
                if self.token:
                    token = secret(self.token, what="context.token").decode().strip()
                    session.headers["Authorization"] = f"Bearer {token}"
                patient = self._patient(session, patient_id)
                return tuple(one for kind in kinds for resource in _RESOURCES[kind]
                             for one in self._read(session, kind, resource, patient))  # fmt: skip
        except requests.JSONDecodeError:
            reason = "answers what is no JSON"
        except (requests.RequestException, OSError) as error:
            # Not the error's own text: it repeats the question, with the patient's number.
            reason = f"does not answer ({type(error).__name__}); check its address and certificate"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"answers what is no FHIR R4 ({type(error).__name__})"
        msg = f"the FHIR server at {self.url} {reason}"
        raise ContextError(msg) from None

    def _patient(self, session: "Session", patient_id: str) -> str:
        found = list(islice(self._search(session, "Patient", identifier=f"{self.patient_system}|{patient_id}"), 2))
        if len(found) != 1:
            count = "several patients" if found else "no patient"
            msg = f"the FHIR server at {self.url} knows {count} of the study's number"
            raise ContextError(msg)
        return str(found[0]["id"])

    def _read(self, session: "Session", kind: Kind, resource: _Resource, patient: str) -> Iterator[Known]:
        for found in self._search(session, resource.name, patient=patient):
            if not any(_said(found, element) & set(values) for element, values in resource.denied.items()):
                concepts = [found[name] for name in resource.concepts if name in found]
                yield Known(kind, *_named(concepts))

    def _search(self, session: "Session", resource: str, **wished: str) -> Iterator[Mapping[str, Any]]:
        """Every resource of that name in a search's pages (FHIR R4 3.1.1.4)."""
        base, pages = f"{self.url.rstrip('/')}/", set[str]()
        place, asked = base + resource, {**wished, "_count": "100"}
        while place and place not in pages and len(pages) < _MOST_PAGES:
            if not place.startswith(base):
                msg = f"the FHIR server at {self.url} sends us to another address for its next page; not followed"
                raise ContextError(msg)
            answer = session.get(place, params=asked, timeout=_TIMEOUT_S, allow_redirects=False)
            if answer.status_code != 200:
                msg = f"the FHIR server at {self.url} refuses {resource} with status {answer.status_code}"
                raise ContextError(msg)
            pages.add(place)
            bundle, asked = answer.json(), {}
            found = (entry["resource"] for entry in bundle.get("entry") or ())
            yield from (one for one in found if one["resourceType"] == resource)
            place = next((link["url"] for link in bundle.get("link") or () if link["relation"] == "next"), "")
        if place:
            msg = f"the FHIR server at {self.url} never ends its pages of {resource}; nothing was concluded"
            raise ContextError(msg)


def _said(found: Mapping[str, Any], element: str) -> set[str]:
    """The codes of a status, which is a code or a concept."""
    value = found.get(element) or ""
    return {value} if isinstance(value, str) else {str(one.get("code", "")) for one in value.get("coding") or ()}


def _named(concepts: list[Mapping[str, Any]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Codes and texts of CodeableConcepts; of a reference what it displays."""
    codings = [coding for concept in concepts for coding in concept.get("coding") or ()]
    texts = [one.get(name) for one in (*concepts, *codings) for name in ("text", "display")]
    codes = (str(coding["code"]) for coding in codings if coding.get("code"))
    return tuple(codes), tuple(str(text) for text in texts if text)
