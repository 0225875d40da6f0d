"""Waiting times of a site: what works on its studies, how fast, and where the service breaks."""

import pytest

from ailab_kernel.fleet.capacity import Load, waiting_curve
from ailab_kernel.fleet.service_level import service_of
from ailab_kernel.fleet.sizing import Answers, disk_of, disk_over_time, size


def service(**answers):
    more = {name: answers.pop(name) for name in ("seconds", "measured_by") if name in answers}
    given = Answers(**answers)
    return service_of(given, size(given), **more)


def test_nothing_inferred_nothing_waits():
    assert service(train="new") is None


def test_a_pilot_takes_what_3_4_expects_at_most():
    found = service(infer_exams_per_hour=4, studies_per_day=96, start_small=True)
    assert (found.load.seconds, found.load.studies_per_day) == (120.0, 96)
    assert "30 studies in <1 Hour" in found.because
    assert 96 < found.breaks_at < 24 * 3600 / 120
    assert "Service breaks at" in found.verdict


def test_a_measured_time_and_the_sites_weight_count():
    found = service(infer_exams_per_hour=25, studies_per_day=400, image_mb=1.0, seconds=0.8, measured_by="measure-0a")
    assert found.load.seconds == pytest.approx(1.6), "studies twice as heavy as typical ones"
    assert "as report measure-0a measured" in found.because


def test_a_broken_service_says_what_to_do():
    found = service(infer_exams_per_hour=20, studies_per_day=480, start_small=True, seconds=170.0)
    assert "service is broken" in found.verdict
    assert "Take the next larger size" in found.verdict


def test_the_curve_grows_and_holds_the_sites_own_load():
    points = waiting_curve(Load(studies_per_day=100, seconds=120), points=6)
    assert 100 in [one.studies_per_day for one in points]
    assert [one.studies_per_day for one in points] == sorted(one.studies_per_day for one in points)
    assert points[-1].p95 > points[0].p95
    assert all(one.p50 <= one.p95 for one in points)


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0, 2.5, 5.0])
def test_disk_grows_until_the_retention_time_is_over(kept):
    answers = Answers(infer_exams_per_hour=5, retention_years=kept)
    years = disk_over_time(answers, beyond=2)
    sums = [sum(one.values()) for one in years]
    assert sums == sorted(sums)
    assert years[-1] == years[-2] == years[-3] == disk_of(answers, years=kept), "what comes in goes out"
    found = size(answers)
    assert found.disk_by_year[-1] == pytest.approx(sum(found.disk_gb.values()), abs=0.06)
