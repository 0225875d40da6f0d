"""The seed's table 3.4 stands in the program as it stands in the seed."""

from ailab_kernel.fleet.scenario import SCENARIO


def test_every_row_of_the_seed():
    rows = {one.workflow: (one.studies, one.pilot, one.small) for one in SCENARIO}
    assert rows == {
        "Annotate": (100, "Hours", "<1 Hour"),
        "Train": (100, "Hours", "<1 Hour"),
        "Validate": (20, "<1 Hour", "<1 Minute"),
        "Infer": (30, "<1 Hour", "<1 Minute"),
    }
