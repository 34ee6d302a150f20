"""All things are looked at, whatever one of them finds; a verdict says what becomes of it."""

from __future__ import annotations

import pytest

from fedcxr.deployment.checks.check import Check, Report, Verdict, fine, insecure, odd, unchecked, wrong
from fedcxr.errors import BadSignature, ConfigError, DataError, Refused


def failing(error: Exception) -> Check:
    def look() -> None:
        raise error

    return Check("broken", look)  # type: ignore[arg-type]  # it never returns


@pytest.mark.parametrize(
    ("error", "found", "fix", "code"),
    [
        (ConfigError("this is odd", given=3, do="say 4"), "this is odd; given: 3", "say 4", 3),
        (BadSignature("forged"), "forged", "", 5),
        (PermissionError(13, "Permission denied", "/a/b"), "/a/b: Permission denied", "let this user read it", 3),
    ],
)
def test_an_error_is_a_finding_and_the_next_thing_is_looked_at(
    error: Exception, found: str, fix: str, code: int
) -> None:
    report = Report.of([failing(error), Check("next", lambda: fine("well"))])
    broken = report.outcomes["broken"]
    assert (broken.verdict, broken.found, broken.fix, broken.exit_code) == (Verdict.problem, found, fix, code)
    assert report.named(Verdict.ok) == ["next"]


def test_a_bug_in_one_look_keeps_nobody_from_the_others() -> None:
    report = Report.of([failing(ZeroDivisionError("oh")), Check("next", lambda: fine("well"))])
    assert "ZeroDivisionError: oh (test_checks.py:" in report.outcomes["broken"].found
    assert report.named(Verdict.ok) == ["next"]


def test_what_rests_on_something_broken_is_not_looked_at_and_is_no_problem_of_its_own() -> None:
    report = Report.of(
        [
            Check("name", lambda: wrong("gone", "find it")),
            Check("port", lambda: fine("well"), ("name",)),
            Check("server", lambda: fine("well"), ("port",)),
            Check("clock", lambda: odd("late", "wait")),
            Check("after", lambda: fine("well"), ("clock",)),
        ]
    )
    assert report.named(Verdict.unchecked) == ["port", "server"]
    assert report.outcomes["server"].found == "needs port first"
    assert report.named(Verdict.ok) == ["after"]


def test_a_problem_ends_with_3_and_one_of_security_with_5() -> None:
    harmless = [Check("a", lambda: odd("late", "wait")), Check("b", lambda: unchecked("nobody looked"))]
    Report.of(harmless).demand("mend it")
    broken = [*harmless, Check("c", lambda: wrong("gone", "find it"))]
    with pytest.raises(DataError, match=r"not ready; given: 1 problem: c; mend it") as ended:
        Report.of(broken).demand("mend it")
    assert ended.value.exit_code == 3
    with pytest.raises(Refused, match="2 problems: c, d"):
        Report.of([*broken, Check("d", lambda: insecure("forged", "beware"))]).demand("mend it")
