"""The bundled ITK viewer under the hub: a person's own server hands out its files."""

import pytest

from ailab_kernel.volumes.view.engines.itk import EXTENSION
from extensions.itk_viewer.build import FILES, PLACE
from tests.services import need_service

pytestmark = pytest.mark.slow


def test_a_server_of_the_hub_hands_out_the_viewer(hub):
    need_service(str(PLACE / "static" / FILES[0]), package="none: make .venv/itk-ready")
    visit = hub.person("ines", "data-scientist")
    visit.choose("pilot")
    visit.wait()
    for file in FILES:
        answer = visit.lab("GET", f"/lab/extensions/{EXTENSION}/static/{file}")
        assert answer.status_code == 200
        assert answer.content == (PLACE / "static" / file).read_bytes()
    opened = "from ailab_kernel.datasets.canary import make_canary; print(make_canary().volume.view(engine='itk'))"
    assert visit.run(opened, kernel=visit.kernel()).strip() == "View(itk)"
