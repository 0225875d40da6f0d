"""The culler's look: everybody page by page, what the room saw counts, and each line is said once."""

import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from ailab_kernel.fleet.profiles import Profile
from ailab_kernel.ground.activity import beat, told
from hub_config import culler


@pytest.fixture
def house(tmp_path):
    tier = Profile(name="pilot", cpus=1, memory_gb=2, idle_minutes=30, max_hours=8)
    return SimpleNamespace(profiles=(tier,), activity=lambda name: tmp_path / name / "own", seen=lambda name: tmp_path / name / "seen",
                           notices=lambda name: tmp_path / name / "notices.json")


@pytest.fixture
def hub(monkeypatch):
    """A hub with 450 people whose servers nobody has used for an hour; what is asked of it is kept."""
    hour_ago = datetime.fromtimestamp(time.time() - 3600, tz=UTC).isoformat().replace("+00:00", "Z")
    server = {"ready": True, "name": "", "started": hour_ago, "last_activity": hour_ago, "user_options": {"tier": "pilot"}}
    people = [{"name": f"p{number}", "servers": {"": server}} for number in range(450)]
    asked = []

    def answer(method, path):
        asked.append((method, path))
        if method == "DELETE":
            return None
        offset = int(path.rpartition("offset=")[2])
        more = {"offset": offset + 200} if offset + 200 < len(people) else None
        return {"items": people[offset : offset + 200], "_pagination": {"next": more}}

    monkeypatch.setattr(culler, "ask", answer)
    return asked


def test_everybody_is_looked_at_and_what_the_room_saw_keeps_a_server(house, hub, tmp_path):
    beat("gpu", "a program uses 64 % of a GPU", folder=house.seen("p3"))
    beat("strokes", "3 strokes", folder=house.activity("p449"))
    culler.look(house, {})
    stopped = {path.split("/")[2] for method, path in hub if method == "DELETE"}
    assert [path for method, path in hub if method == "GET"] == [f"/users?state=active&limit=200&offset={n}" for n in (0, 200, 400)]
    assert stopped == {f"p{number}" for number in range(450)} - {"p3", "p449"}
    assert "nobody used it for 30 min" in told(house.notices("p1"))[0].text
    assert told(house.notices("p3")) == ()


def test_a_warning_is_said_once_and_again_after_use(house, hub, monkeypatch):
    acts = iter(["warn", "warn", "keep", "warn"])
    monkeypatch.setattr(culler, "judge", lambda *_, **__: culler.Verdict(next(acts), "your server will be stopped at 12:00"))
    monkeypatch.setattr(culler, "everybody", lambda: [{"name": "p1", "servers": {"": {
        "ready": True, "name": "", "started": "2026-01-01T00:00:00Z", "last_activity": "2026-01-01T00:00:00Z"}}}])
    said = {}
    for _ in range(4):
        culler.look(house, said)
    assert [one.text for one in told(house.notices("p1"))] == ["Your server will be stopped at 12:00."] * 2
    assert not [one for one in hub if one[0] == "DELETE"]
