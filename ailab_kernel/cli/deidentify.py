"""``ailab deidentify``: a folder of DICOM files, or a whole archive, without its patients."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ailab_kernel.ground.errors import WrongUse

from .asked import catalog_here
from .show import AsJson, line, show


def deidentify(
    source: Annotated[str, typer.Argument(help="Folder of DICOM files, or an archive's URL; it is only read.")],
    out: Annotated[str, typer.Argument(help="New folder, one that the same command began, or an archive's URL.")],
    *,
    key_file: Annotated[Path, typer.Option(help="32 random bytes or more, mode 600: openssl rand 32 > KEY.")],
    profile: Annotated[str, typer.Option(help="basic, research or longitudinal; more options as +uids.")] = "research",
    documents: Annotated[bool, typer.Option(help="Let objects pass that hold a document, which stays unread.")] = False,
    pixels: Annotated[str, typer.Option(help="Text in pixels: off, rules, detect or every.")] = "detect",
    keep_technical: Annotated[bool, typer.Option(help="Let technical text on screens and ultrasound stay.")] = False,
    hold: Annotated[bool, typer.Option(help="Hold objects in which text is expected and none was found.")] = False,
    review: Annotated[bool, typer.Option(help="Release masked or doubted pictures only as a person decided.")] = False,
    sheets: Annotated[Path | None, typer.Option(help="Folder for pages to review; they show patients.")] = None,
    journal: Annotated[Path | None, typer.Option(help="Folder of journal and report, if OUT is an archive.")] = None,
    processes: Annotated[int, typer.Option(help="How many files or studies at once; 0: one a core.")] = 0,
    as_json: AsJson = False,
) -> None:
    """De-identify by PS3.15 annex E and prove it. Example: ailab deidentify ./in ./out --key-file site.key."""
    from ailab_kernel.datasets.deidentified import deidentify_place, place_of
    from ailab_kernel.datasets.reviewing import release, reviewed
    from ailab_kernel.privacy.bulk import Treatment
    from ailab_kernel.privacy.pixels.redact import Pixels
    from ailab_kernel.privacy.rules.profile import profile_of
    from ailab_kernel.privacy.rules.standins import keyed, read_key

    key = read_key(key_file)
    keyed(key)
    if pixels not in set(Pixels):
        msg = f"there is no way {pixels!r} to treat pixels; there are {', '.join(Pixels)}"
        raise WrongUse(msg)
    treatment = Treatment(profile_of(profile), key, documents, pixels=Pixels(pixels), keep_technical=keep_technical,
                          hold=hold, sheets=sheets)  # fmt: skip
    treatment = reviewed(treatment, out, journal=journal) if review else treatment
    release(treatment)
    catalog = catalog_here()
    report = deidentify_place(place_of(source), place_of(out), treatment, journal=journal, processes=processes or None,
                              audit=catalog.audit if catalog else None)  # fmt: skip
    show(report, as_json=as_json, table=lambda: _table(report, str(journal or out)))
    if report["refused"] or not report["written"]:
        raise typer.Exit(1)


def _table(report: dict[str, Any], where: str) -> None:
    line(f"{report['written']} of {report['files']} files de-identified; {report['values_searched']} values of the "
         f"originals searched in them, none met")  # fmt: skip
    counts = ", ".join(f"{letter} {number}" for letter, number in report["counts"].items())
    line(f"attributes by action (PS3.15 E.1.1): {counts}")
    line(f"pixels: {report['pixels']['read']} objects read for text, {report['pixels']['masked']} masked")
    if "review" in report:
        line(f"review: {report['review']['waiting']} objects wait for a person (lab.redact in a notebook), "
             f"{report['review']['decided']} released as decided, with {report['review']['boxes']} boxes")  # fmt: skip
    line(f"{len(report['texts_to_review'])} cleaned texts to review: {Path(where) / 'deidentified.json'}")
    for one in report["refused"]:
        place = f"file {one['number']} of the input, by path" if "study" not in one else \
            f"study {one['study']}, object {one['number']} by UID" if "number" in one else f"study {one['study']}"
        named = f" (its stand-in is {one['instance']})" if "instance" in one else ""
        line(f"set aside: {place}{named}: {one['reason']}")
