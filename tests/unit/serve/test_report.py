import pytest

from spixgraph.serve.jobs import report
from spixgraph.serve.jobs.report import CanceledError, Report
from spixgraph.serve.jobs.table import JobTable


@pytest.fixture
def table(tmp_path):
    table = JobTable(tmp_path / "jobs.sqlite")
    table.add({}, owner=None, job_id="a")
    table.take("me")
    return table


def test_steps_become_one_bar(table, monkeypatch):
    monkeypatch.setattr(report, "_REPORT_S", 0.0)
    told = Report(table, "a", "me")
    bar = []
    pixels, steps = told.pixels(100), told.steps()
    for name in ("graph", "network", "mask"):
        with steps(name):
            for _ in range(4):
                pixels(name, 25)
                bar.append(table.get("a").progress)
    told.within("view")(1.0)
    assert bar == sorted(bar)
    assert len(set(bar)) >= 12
    assert bar[-1] < table.get("a").progress < 1


def test_the_same_step_is_told_again_after_a_while(table):
    told = Report(table, "a", "me")
    told.step("graph", 0.1)
    told.step("graph", 0.2)
    assert table.get("a").progress == 0.1
    told.step("mask", 0.3)
    assert table.get("a").progress == 0.3


def test_a_job_of_somebody_else_is_left(table):
    with pytest.raises(CanceledError):
        Report(table, "a", "another").step("graph", 0.1)
    table.ask_to_cancel("a")
    with pytest.raises(CanceledError):
        Report(table, "a", "me").step("graph", 0.1)
