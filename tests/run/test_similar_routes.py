"""Routes that are similar to a request that reached none."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fastbg.run.body import LIMIT
from fastbg.run.client import Client
from fastbg.run.similar_routes import MAX_PATH, MAX_PATHS, similar_routes
from tests.support.hostile_server import OK, respond_with
from tests.support.processes import PATIENCE_S, fastbg
from tests.support.servers import uvicorn

PATHS: dict[str, Any] = {
    "/orders": {"get": {}, "post": {}},
    "/orders/{id}": {"get": {}, "delete": {}, "parameters": []},
    "/orders/{id}/items": {"get": {}},
    "/users/{name}": {"get": {}},
    "/health": {"get": {}},
    "/api/v1/newsletters": {"get": {}},
    "/api/v1/faqs/{id}": {"get": {}},
}
APP = """
from fastapi import APIRouter, FastAPI, HTTPException

app = FastAPI(description="x" * 100_000)

@app.post("/orders/{id}")
def order(id: str): pass

@app.get("/gone/{id}")
def gone(id: str):
    raise HTTPException(404, "gone")
"""
SCRIPT = """
app = "shop:app"

[[part]]
name = "first"

[[part.request]]
name = "misspelt"
path = "/order/7?x=%2F"
method = "POST"

[[part.request]]
name = "other method"
path = "/orders/7"

[[part]]
name = "second"

[[part.request]]
name = "not found"
path = "/gone/7"
"""


@pytest.mark.parametrize(
    ("request_line", "found"),
    [
        ("POST /order", ["POST /orders", "GET /orders"]),
        ("GET /order/42", ["GET /orders/{id}", "DELETE /orders/{id}"]),
        ("DELETE /order/42", ["DELETE /orders/{id}", "GET /orders/{id}"]),
        ("GET /user/a-very-long-name", ["GET /users/{name}"]),
        ("POST /orders/42", ["DELETE /orders/{id}", "GET /orders/{id}", "POST /orders"]),
        ("GET /helth", ["GET /health"]),
        ("GET /nothing-like-it", []),
        ("GET /orders/42", []),
        ("GET /api/v1/pages/newsletters", ["GET /api/v1/newsletters", "GET /api/v1/faqs/{id}"]),
        ("GET /orders/", ["GET /orders", "POST /orders"]),
    ],
)
def test_similar_routes_are_found_most_similar_first(request_line: str, found: list[str]) -> None:
    method, path = request_line.split()
    assert list(similar_routes(method, path, PATHS))[: len(found) or 1] == found


def test_odd_documents_have_no_routes() -> None:
    odd: dict[str, Any] = {
        "/user1": None,
        "/user2": [],
        "/user3": {"get": None},
        "/user4": {"summary": "x"},
        "": {"get": {}},
    }
    assert similar_routes("GET", "/user", odd) == ("GET /user3",)
    assert similar_routes("GET", "", {"/": {"get": {}}}) == ()


def test_comparison_is_limited() -> None:
    many: dict[str, Any] = {f"/{'x' * 150}{number}": {"get": {}} for number in range(10 * MAX_PATHS)}
    long: dict[str, Any] = {"/" + "x" * MAX_PATH: {"get": {}}}
    assert similar_routes("GET", "/" + "x" * 10**6, long | many)[0].startswith("GET /xxx")
    assert similar_routes("GET", "/" + "x" * 10**6, long) == ()


def test_document_is_read_whole_or_not_at_all() -> None:
    answers = {
        "/big": OK + b"\r\n" + b"x" * (LIMIT + 1),
        "/error": b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}",
        "/broken": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nno",
        "/none": b"",
    }

    async def fetched(url: str, path: str) -> bytes | None:
        async with asyncio.timeout(PATIENCE_S), Client(url, dict) as client:
            return await client.fetch(path, "id")

    with respond_with(answers) as url:
        sizes = {path: len(asyncio.run(fetched(url, path)) or b"") for path in answers}
    assert sizes == {"/big": LIMIT + 1, "/error": 0, "/broken": 0, "/none": 0}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "s.toml").write_text(SCRIPT)
    return tmp_path


def check(text: str) -> None:
    lines = [line.strip() for line in text.splitlines()]
    assert "routes that are near: POST /orders/{id}" in lines
    assert "/orders/7 allows POST" in lines
    assert 'body: {"detail":"gone"}' in lines
    assert text.count("near:") == text.count("allows") == 1


def test_unexpected_404_names_routes(shop: Path) -> None:
    result = fastbg("demo", "s.toml", cwd=shop)
    assert (result.returncode, result.stderr) == (1, b"")
    check(result.stdout.decode())
    assert (shop / ".fastbg" / "server.log").read_bytes().count(b"GET /openapi.json") == 2  # one for each part
    assert b"as expected" in result.stdout


def test_running_server_names_routes_too(shop: Path) -> None:
    with uvicorn("shop:app", shop) as url:
        result = fastbg("demo", "s.toml", "--url", url, cwd=shop)
    check(result.stdout.decode())
    assert not (shop / ".fastbg" / "server.log").exists()
    assert b"server.log" not in result.stdout


def test_expected_404_asks_for_nothing(shop: Path) -> None:
    (shop / "s.toml").write_text('app = "shop:app"\n[[request]]\nname = "a"\npath = "/order/7"\nexpect.status = 404\n')
    fastbg("demo", "s.toml", cwd=shop)
    assert b"openapi.json" not in (shop / ".fastbg" / "server.log").read_bytes()
