"""Which requests are not sent unless a script asks for them."""

import pytest

from fastbg.scripting.risk import CHANGES, DESTROYS, risk
from fastbg.scripting.routes import Operation


@pytest.mark.parametrize(
    ("method", "path", "endpoint"),
    [
        ("DELETE", "/orders/{id}", "order"),
        ("POST", "/shutdown", "x"),
        ("GET", "/admin/purge-cache", "x"),
        ("GET", "/auth/log-out", "x"),
        ("POST", "/users/{id}/revokeToken", "x"),
        ("POST", "/db", "drop_tables"),
        ("POST", "/db", "resetDB"),
        ("PUT", "/v1/KILL/9", "x"),
        ("POST", "/jobs/9:cancel", "x"),
    ],
)
def test_destructive_word_or_method_is_a_risk(method: str, path: str, endpoint: str) -> None:
    assert risk(Operation(method, path, True, endpoint)) == DESTROYS


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [("/dropbox", "x"), ("/skills", "x"), ("/users/{reset_token}", "x"), ("/presets", "resettle"), ("/cancelled", "x")],
)
def test_only_whole_words_count(path: str, endpoint: str) -> None:
    assert risk(Operation("GET", path, None, endpoint)) is None


@pytest.mark.parametrize(
    ("method", "takes_tasks", "expected"),
    [
        ("GET", None, None),
        ("HEAD", False, None),
        ("POST", True, None),
        ("PUT", True, None),
        ("POST", None, CHANGES),
        ("PATCH", False, CHANGES),
        ("OPTIONS", False, CHANGES),
    ],
)
def test_change_is_a_risk_unless_the_route_takes_tasks(
    method: str, takes_tasks: bool | None, expected: str | None
) -> None:
    assert risk(Operation(method, "/orders", takes_tasks)) == expected
