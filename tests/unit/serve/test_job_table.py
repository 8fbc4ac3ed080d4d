import multiprocessing
import time

import pytest

from spixgraph.serve.jobs import table as module
from spixgraph.serve.jobs.table import MAX_ATTEMPTS, JobTable


@pytest.fixture
def table(tmp_path) -> JobTable:
    return JobTable(tmp_path / "state/jobs.sqlite")


def add(table, name="a"):
    return table.add({"name": name, "path": "/x"}, owner=None)


def test_first_come_first_served(table):
    first, second = add(table), add(table)
    assert table.take("w1").id == first.id
    assert table.take("w2").id == second.id
    assert table.take("w3") is None
    assert [job.state for job in table.all()] == ["running", "running"]


def test_result_is_of_the_worker_that_holds_the_job(table):
    job = add(table)
    table.take("w1")
    assert table.report(job.id, "w1", "graph", 0.5)
    assert not table.report(job.id, "w2", "graph", 0.9)
    assert not table.finish(job.id, "w2", {})
    assert table.finish(job.id, "w1", {"n": 1})
    done = table.get(job.id)
    assert (done.state, done.summary, done.progress) == ("done", {"n": 1}, 1)
    assert not table.fail(job.id, "w1", "late")


def test_job_of_a_lost_worker_is_free_again_and_its_late_word_does_not_count(table, monkeypatch):
    monkeypatch.setattr(module, "LEASE_S", 0.05)
    job = add(table)
    table.take("lost")
    assert table.take("w2") is None
    time.sleep(0.1)
    assert table.has_free()
    assert table.take("w2").attempt == 2
    assert not table.finish(job.id, "lost", {})
    table.renew("lost")
    assert table.held_by("lost") is None


def test_renewed_lease_keeps_the_job(table, monkeypatch):
    monkeypatch.setattr(module, "LEASE_S", 0.2)
    add(table)
    table.take("w1")
    for _ in range(4):
        time.sleep(0.1)
        table.renew("w1")
    assert table.take("w2") is None


def test_job_that_kills_its_workers_fails_at_last(table):
    job = add(table)
    for number in range(MAX_ATTEMPTS):
        assert table.take(f"w{number}").attempt == number + 1
        table.release(f"w{number}", "killed")
    assert table.take("w") is None
    assert (table.get(job.id).state, table.get(job.id).error) == ("failed", "killed")


def test_stopping_on_purpose_costs_no_attempt(table):
    add(table)
    for _ in range(MAX_ATTEMPTS + 2):
        assert table.take("w").attempt == 1
        table.give_back("w")


def test_cancel_while_queued_is_at_once(table):
    job = add(table)
    table.ask_to_cancel(job.id)
    assert table.get(job.id).state == "canceled"
    assert table.take("w") is None


def test_cancel_while_running_is_up_to_the_worker(table):
    job = add(table)
    table.take("w")
    table.ask_to_cancel(job.id)
    assert table.get(job.id).state == "running"
    assert not table.report(job.id, "w", "graph", 0.5)
    assert not table.finish(job.id, "w", {})
    table.end_canceled("w")
    assert table.get(job.id).state == "canceled"


def test_canceled_job_of_a_lost_worker_is_settled(table, monkeypatch):
    monkeypatch.setattr(module, "LEASE_S", 0.01)
    job = add(table)
    table.take("w")
    table.ask_to_cancel(job.id)
    time.sleep(0.05)
    table.sweep()
    assert table.get(job.id).state == "canceled"


def test_only_ended_jobs_are_deleted(table):
    job = add(table)
    assert not table.delete(job.id)
    table.take("w")
    assert not table.delete(job.id)
    table.finish(job.id, "w", {})
    assert [j.id for j in table.ended_before(time.time() + 1)] == [job.id]
    assert table.ended_before(time.time() - 10) == []
    assert table.delete(job.id)
    assert table.get(job.id) is None


def _take_all(path, out):
    table = JobTable(path)
    worker = multiprocessing.current_process().name
    while job := table.take(worker):
        out.put((worker, job.id))


def test_processes_never_take_the_same_job(tmp_path):
    path = tmp_path / "jobs.sqlite"
    table = JobTable(path)
    ids = {add(table).id for _ in range(60)}
    context = multiprocessing.get_context("spawn")
    taken = context.Queue()
    processes = [context.Process(target=_take_all, args=(path, taken)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [taken.get(timeout=60) for _ in ids]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert taken.empty()
    assert {job_id for _, job_id in found} == ids
    assert len(found) == len(ids)
