"""The services that tests start: missing ones are told, and none listens beyond this machine."""

import subprocess

import pytest

from ailab_kernel.archives import open_archive
from tests.services import Orthanc, need_service


def test_a_missing_service_skips_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AILAB_REQUIRE_SERVICES", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"not-there is not installed \(apt-get install nothing\)"):
        need_service("not-there", package="nothing")


def test_a_missing_service_fails_where_services_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AILAB_REQUIRE_SERVICES", "1")
    with pytest.raises(pytest.fail.Exception, match="not-there"):
        need_service("not-there", package="nothing")


def test_orthanc_listens_on_loopback_only(pacs: Orthanc) -> None:
    need_service("ss", package="iproute2")
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
    places = [line.split()[3] for line in listening.splitlines()]
    ours = {place for place in places if place.endswith((f":{pacs.http_port}", f":{pacs.dicom_port}"))}
    assert ours == {f"127.0.0.1:{pacs.http_port}", f"127.0.0.1:{pacs.dicom_port}"}
    assert open_archive(pacs.url).search() == ()
