"""What this product is made of, and what is known against it: ``python -m tests.supply_chain sbom|audit``.

``sbom`` writes build/sbom.cdx.json (CycloneDX 1.6) from requirements.lock: equal locks, equal bytes. ``audit`` compares
the lock with the databases that pip-audit asks; where none can be reached it says so and fails, since nothing was
compared. A mirror is asked instead with ``PIP_AUDIT_VULNERABILITY_SERVICE=osv PIP_AUDIT_OSV_URL=https://HOST/v1/query``.
"""

import json
import re
import subprocess
import sys
import tomllib
import uuid
import venv
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK, BUILD = ROOT / "requirements.lock", ROOT / "build"
AUDITOR = "pip-audit==2.10.1"
PROBE = "jinja2==2.4.1"                        # PYSEC-2014-8 and others: every database knows it
FOUND, NOT_COMPARED = 1, 3


def locked(lock: Path = LOCK) -> dict[str, str]:
    """Name, as the index writes it, to version."""
    lines = [line.split("==") for line in lock.read_text().splitlines() if "==" in line]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lines}


def sbom(lock: Path = LOCK) -> dict:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = locked(lock)
    ours = f"pkg:pypi/{project['name']}@{project['version']}"
    refs = {name: f"pkg:pypi/{name}@{version}" for name, version in pins.items()}
    direct = {re.split(r"[\[=<>;@ ]", one, maxsplit=1)[0].lower() for one in project["dependencies"]}
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, sha256(lock.read_bytes()).hexdigest())}",
        "metadata": {"component": {"type": "application", "name": project["name"], "version": project["version"],
                                   "bom-ref": ours, "purl": ours}},
        "components": [{"type": "library", "name": name, "version": version, "bom-ref": refs[name], "purl": refs[name],
                        **license_of(name)} for name, version in sorted(pins.items())],
        "dependencies": [{"ref": ours, "dependsOn": sorted(refs[one] for one in direct if one in refs)},
                         *({"ref": refs[name], "dependsOn": [refs[one] for one in needed(name) if one in refs]}
                           for name in sorted(pins))],
    }  # fmt: skip


def license_of(name: str) -> dict:
    """What the installed package says of its licence: an SPDX expression, or its own words."""
    try:
        told = distribution(name).metadata
    except PackageNotFoundError:
        return {}
    if told.get("License-Expression"):
        return {"licenses": [{"expression": told["License-Expression"]}]}
    said = [one.rpartition(":: ")[2] for one in told.get_all("Classifier", []) if one.startswith("License ::")]
    short = [one for one in (told.get("License") or "").splitlines() if one.strip()][:1]
    words = next(iter(said or short), "").strip()[:200]
    return {"licenses": [{"license": {"name": words}}]} if words else {}


def needed(name: str) -> list[str]:
    """Direct requirements of an installed package, without its extras."""
    from packaging.requirements import Requirement

    try:
        told = [Requirement(one) for one in distribution(name).requires or ()]
    except PackageNotFoundError:
        return []
    wanted = [one.name for one in told if one.marker is None or one.marker.evaluate({"extra": ""})]
    return sorted({re.sub(r"[-_.]+", "-", one).lower() for one in wanted})


def audit(lock: Path, report: Path, *, auditor: list[str]) -> int:
    """Compare a lock with the databases; say and return 0 nothing known, 1 found, 3 not compared.

    A mirror may answer without knowing anything: what is known against an old release must come back first.
    """
    probe = report.with_name("probe.txt")
    probe.write_text(f"{PROBE}\n")
    try:
        if not any(one.get("vulns") for one in _asked(probe, report, auditor)):
            raise OSError(f"it answers, and knows nothing against {PROBE}")
        told = _asked(lock, report, auditor)
    except (OSError, ValueError, KeyError) as error:
        return not_compared(lock, error)
    known = [(one["name"], one["version"], found["id"], ", ".join(found["fix_versions"]) or "no fix")
             for one in told for found in one.get("vulns", ())]
    for line in known:
        say("{} {}: {} (fixed in {})".format(*line))
    skipped = sum("skip_reason" in one for one in told)
    if skipped:
        say(f"{skipped} packages are not known there and were not compared")
    say(f"{len(told) - skipped} packages compared, {len(known)} known vulnerabilities")
    return FOUND if known else 0


def not_compared(lock: Path, error: Exception) -> int:
    """Say why nothing was compared, and return 3."""
    say(f"NOT COMPARED: no vulnerability database could be asked ({str(error)[:200]}).\n"
        f"{lock.name} was compared with nothing; run this where one can be reached.")
    return NOT_COMPARED


def _asked(lock: Path, report: Path, auditor: list[str]) -> list[dict]:
    report.unlink(missing_ok=True)
    words = [*auditor, "--requirement", str(lock), "--no-deps", "--disable-pip", "--progress-spinner", "off",
             "--format", "json", "--output", str(report)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if not report.is_file():
        raise OSError(([one for one in done.stderr.splitlines() if one.strip()] or ["no answer"])[-1])
    return json.loads(report.read_text())["dependencies"]


def installed_auditor(home: Path) -> list[str]:
    """pip-audit in an environment of its own, never in the product's; OSError where no index has it."""
    python = home / "bin" / "python"
    if not (home / "bin" / "pip-audit").is_file():
        venv.create(home, with_pip=True, clear=True)
        words = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", AUDITOR]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"{AUDITOR} is not installed: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
    return [str(python), "-m", "pip_audit"]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main(word: str) -> int:
    BUILD.mkdir(exist_ok=True)
    if word == "sbom":
        path = BUILD / "sbom.cdx.json"
        made = sbom()
        path.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
        say(f"{len(made['components'])} components: {path.relative_to(ROOT)}")
        return 0
    try:
        auditor = installed_auditor(BUILD / "audit")
    except OSError as error:
        return not_compared(LOCK, error)
    return audit(LOCK, BUILD / "vulnerabilities.json", auditor=auditor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
