"""A JupyterLab and a page for the tests that draw with a mouse."""

import pytest

from tests.browsers import chromium

from .labs import jupyterlab


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with jupyterlab(tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture
def page():
    with chromium(viewport={"width": 1400, "height": 1000}) as page:
        yield page
