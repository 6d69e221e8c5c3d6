"""The table that says who is blamed and whether a restart may help."""

import pytest

from launch.supervisor.exit_policy import WorkerExit, decide


def group(*codes, stopped=()):
    return [
        WorkerExit(index=index, code=code, stopped=index in stopped)
        for index, code in enumerate(codes)
    ]


@pytest.mark.parametrize(
    ("codes", "code", "restart", "culprit"),
    [
        ((0, 0), 0, False, None),
        ((175, 175), 175, True, None),
        ((175, -9), 137, True, 1),
        ((-9, -6), 137, True, 0),
        ((175, None), 175, True, 1),
        ((138, 138), 138, True, 0),
        ((129, 129), 129, True, 0),
        ((-1, None), 129, True, 0),
        ((143, 175), 143, True, 0),
        ((130, 130), 130, False, 0),
        ((-2, None), 130, False, 0),
        ((175, 1), 1, False, 1),
        ((1, 2), 1, False, 0),
        ((-11, 2), 2, False, 1),
        ((0, 175), 175, True, None),
        ((None, None), 175, True, None),
        ((143, None), 175, True, 1),
        ((77, 0), 77, False, 0),
        ((137, 0), 137, False, 0),
    ],
)
def test_verdicts(codes, code, restart, culprit):
    verdict = decide(group(*codes))
    assert (verdict.code, verdict.restart, verdict.culprit) == (code, restart, culprit)


def test_only_the_contract_s_codes_are_restarted():
    """A death by a signal is told from an exit by the sign that Popen gives it."""
    restarted = {code for code in range(256) if decide(group(code)).restart}
    assert restarted == {129, 138, 143, 175}
    assert all(decide(group(-number)).restart for number in (1, 6, 7, 9, 10, 11, 15))


def test_reasons_name_what_a_reader_can_act_on():
    assert "memory may have run out" in decide(group(-9)).reason
    assert "SIGSEGV" in decide(group(-11)).reason
    assert "SIGSTOP" in decide(group(175, None, stopped=[1])).reason


def test_who_is_behind_is_blamed_for_all_that_wait():
    ends = [
        WorkerExit(index=0, code=None, step=8),
        WorkerExit(index=1, code=None, step=7),
    ]
    assert decide(ends).culprit == 1
    ends[0] = WorkerExit(index=0, code=None)
    assert decide(ends).culprit == 0
    ends[1] = WorkerExit(index=1, code=None, step=9, stopped=True)
    assert decide(ends).culprit == 1


def test_nobody_is_blamed_when_nobody_is_behind():
    ends = [WorkerExit(index=i, code=None, step=8, silent_secs=70.0) for i in (0, 1)]
    verdict = decide(ends)
    assert (verdict.code, verdict.restart, verdict.culprit) == (175, True, None)
    assert "workers 0, 1 stopped making progress together at step 8" in verdict.reason
