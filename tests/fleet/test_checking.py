"""`ailab hub check` without a hub: which roles it takes, which tiers it leaves out and why, what it sends to a kernel."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ailab_kernel.fleet.checking import GUEST, HEALTH, Plan, _lacking, cells, check, roles_for
from ailab_kernel.fleet.profiles import Profile, read_profiles
from ailab_kernel.fleet.visit import Visit
from ailab_kernel.ground.errors import AilabError, NotFound

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / HEALTH


def tier(name, *groups, **more):
    return Profile(**{"name": name, "cpus": 1, "memory_gb": 2, "groups": groups} | more)


def test_the_products_own_tiers_take_one_role():
    assert roles_for(read_profiles((ROOT / "hub_config" / "tiers.yaml").read_text())) == ("data-scientist",)


@pytest.mark.parametrize(("profiles", "expected"), [
    ([tier("a", "student"), tier("b", "radiologist")], {"student", "radiologist"}),
    ([tier("a", "student", "auditor"), tier("b", "auditor")], {"auditor"}),
    ([tier("a", "admin", "student"), tier("b", "admin")], {"student"}),
    ([tier("a", "admin")], {"student"}),
])  # fmt: skip
def test_as_few_roles_as_have_every_tier_and_never_the_admins(profiles, expected):
    assert set(roles_for(profiles)) == expected


@pytest.mark.parametrize(("profile", "offered", "says"), [
    (tier("a", "student"), {"a": ""}, ""),
    (tier("a", "admin"), {"a": ""}, "only admins may have it, and the check never becomes one"),
    (tier("a", "student"), {"b": ""}, "the hub does not offer it"),
    (tier("a", "student", gpus=2), {"a": "This machine has no GPU"}, "This machine has no GPU; the tier lends 2"),
    (tier("a", "student", memory_gb=128), {"a": ""}, "this machine has 24 GB of memory, the tier gives 128"),
])  # fmt: skip
def test_what_is_left_out_and_why(profile, offered, says):
    plan = Plan(url="", private=Path(), profiles=(), notebook=NOTEBOOK, memory_gb=24.0)
    assert _lacking(plan, profile, offered).startswith(says)
    assert bool(_lacking(plan, profile, offered)) is bool(says)


def test_the_form_says_what_a_machine_lacks(monkeypatch):
    pytest.importorskip("jupyterhub")
    from hub_config.spawner import _card

    cards = [_card(tier(name, "student", gpus=gpus, price_per_hour=2.2), first=False, there=there)
             for name, gpus, there in (("a", 0, 0), ("b", 1, 0), ("c", 2, 1))]
    visit = Visit("http://127.0.0.1:9", GUEST)
    monkeypatch.setattr(visit, "_get", lambda path: SimpleNamespace(text="".join(cards)))
    assert visit.form() == {"a": "", "b": "This machine has no GPU", "c": "This machine has 1 GPU"}
    assert visit.tiers() == ["a"]


def test_the_notebooks_cells_with_papermills_parameters_among_them():
    found = cells(NOTEBOOK, tier="pilot")
    given = next(number for number, source in enumerate(found) if 'tier = "pilot"' in source)
    assert 'tier: str = ""' in found[given - 1], "after the defaults"
    assert "json.dumps(found)" in found[-1]


def test_without_a_hub_or_beside_another_check(tmp_path):
    plan = Plan(url="http://127.0.0.1:9", private=tmp_path, profiles=(), notebook=NOTEBOOK)
    with pytest.raises(NotFound, match="ailab hub start"):
        check(plan)
    (tmp_path / "check.token").write_text("x")
    import fcntl

    with (tmp_path / "check.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(AilabError, match="another check of this hub is under way"):
            check(plan)
    with pytest.raises(AilabError, match=r"the hub did not answer \(ConnectionError\)"):
        check(plan)
    assert GUEST not in [path.name for path in tmp_path.iterdir()]
