"""Records and leases in Optuna's storage, also of two processes at once."""

import multiprocessing

import optuna
import pytest

from launch.command_line import UsageError
from launch.study import study_storage
from launch.study.study_storage import StudyStorage
from launch.supervisor import process_identity
from tests.support.studies import define, record


@pytest.fixture(scope="module", params=["sqlite:///{}/a.db", "journal:///{}/a.log"])
def url(request, tmp_path_factory):
    return request.param.format(tmp_path_factory.mktemp("storage"))


@pytest.fixture
def name(request):
    return request.node.name


def open_study(url, name, **changes):
    opened = study_storage.open_storage(url)
    return StudyStorage(opened, define(name=name), **changes)


def test_a_record_is_read_as_it_was_written_and_optuna_shows_the_trial(url, name):
    storage = open_study(url, name)
    first = record(0, 0.5, 0.7, state="running", stages=0)
    storage.write(first)
    assert open_study(url, name).records() == {0: first}
    done = record(0, 0.5, 0.7)
    storage.write(done)
    storage.write(record(1, 0.3, state="pruned", reason="low"))
    storage.write(record(0, 0.1))  # a final record stays
    assert storage.records()[0] == done
    shown = optuna.load_study(study_name=name, storage=study_storage.open_storage(url))
    assert [t.state.name for t in shown.trials] == ["COMPLETE", "PRUNED"]
    assert shown.trials[0].intermediate_values == {0: 0.5, 1: 0.7}
    assert shown.best_trial.params == {"learning_rate": 0.001}


def test_a_lease_has_one_holder_until_it_is_released(url, name):
    one, other = open_study(url, name), open_study(url, name)
    lease = one.claim(3)
    assert one.holds(lease)
    assert other.claim(3) is None
    one.renew(lease)
    one.release(lease)
    second = other.claim(3)
    assert other.holds(second)
    assert not one.holds(lease)


def test_the_lease_of_a_dead_process_is_free_at_once(url, name, monkeypatch):
    one, other = open_study(url, name), open_study(url, name)
    lease = one.claim(0)
    monkeypatch.setattr(process_identity, "find_start", lambda _: None)
    taken = other.claim(0)
    assert other.holds(taken)
    assert not one.holds(lease)


def test_a_lease_of_another_machine_is_free_a_minute_after_its_last_renewal(
    url, name, monkeypatch
):
    now = [0.0]
    one, other = open_study(url, name), open_study(url, name, clock=lambda: now[0])
    with monkeypatch.context() as patched:
        patched.setattr(process_identity, "_identify_machine", lambda: "elsewhere")
        lease = one.claim(0)
    for secs, renewed in [(0, False), (50, True), (100, False), (109, False)]:
        now[0] = secs
        if renewed:
            one.renew(lease)
        assert other.claim(0) is None
    now[0] = 110.5
    assert other.claim(0) is not None
    assert not one.holds(lease)


def claim_all(url, name, count):
    storage = open_study(url, name)
    return [n for n in range(count) if storage.claim(n) is not None]


def test_two_processes_never_have_the_same_lease(url, name):
    open_study(url, name)
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        found = pool.starmap(claim_all, [(url, name, 12)] * 2)
    assert sorted(found[0] + found[1]) == list(range(12))


def test_another_definition_is_refused_with_the_difference(url, name):
    open_study(url, name)
    opened = study_storage.open_storage(url)
    with pytest.raises(UsageError, match="study_seed: 0 != 1"):
        StudyStorage(opened, define(name=name, study_seed=1))


def test_a_password_is_not_shown_and_a_bad_url_is_refused(tmp_path):
    url = "postgresql://me:secret@host/db"
    assert study_storage.hide_password(url) == "postgresql://me:***@host/db"
    with pytest.raises(UsageError, match="is not a URL"):
        study_storage.hide_password("no url")
    for bad in ("sqlite:////nowhere/at/all.db", "nothing://x", "journal:///nowhere/a"):
        with pytest.raises(UsageError, match="cannot be opened"):
            study_storage.open_storage(bad)
