"""An app with operations of every kind. It rejects all requests that its OpenAPI document does not allow.

All operations except one take `BackgroundTasks`, directly or in a dependency. Their tasks append a text of the request
to `written`.
"""

import datetime
import re
import uuid
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

from fastapi import APIRouter, BackgroundTasks, Body, Cookie, Depends, FastAPI, File, Form, Header, Path, Query, Request
from fastapi import UploadFile as Upload
from fastapi.responses import PlainTextResponse, Response
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBasic, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.networks import AnyHttpUrl, IPvAnyAddress

written: list[str] = []


def queue(tasks: BackgroundTasks) -> None:
    tasks.add_task(written.append, "dependency")


def queue_if_given(tasks: BackgroundTasks, q: str | None = None) -> None:
    if q:
        tasks.add_task(written.append, q)


def deep(_: Annotated[None, Depends(queue_if_given)]) -> None:
    """A dependency with a dependency that queues a task."""


QUEUES = [Depends(queue)]
app = FastAPI()


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: Annotated[str, Field(min_length=12)]
    country: Annotated[str, Field(pattern="^[A-Z]{2}$", examples=["DE"])]
    note: str | None = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)]


class Dog(BaseModel):
    kind: Literal["dog"]


class Node(BaseModel):
    name: str
    children: list["Node"] = []
    parent: "Node | None" = None


class Odd(BaseModel):
    key: str = Field(alias='a "b".c ${d}')


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: Annotated[str, Field(json_schema_extra={"format": "email"}, pattern=r"^[^@]+@[^@]+\.\w+$")]
    contact_email: str
    id: uuid.UUID
    day: datetime.date
    at: datetime.datetime
    clock: datetime.time
    wait: datetime.timedelta
    site: AnyHttpUrl
    host: IPvAnyAddress
    price: Annotated[Decimal, Field(gt=0, max_digits=6)]
    weight: Annotated[float, Field(gt=0, lt=0.5)]
    count: Annotated[int, Field(ge=10, multiple_of=7)]
    below: Annotated[int, Field(lt=-3)]
    short: Annotated[str, Field(max_length=3)]
    digits: Annotated[str, Field(pattern=r"^\d{4}$")]
    colour: Colour
    level: Literal[3, 4]
    flag: bool
    secret: SecretStr
    tags: Annotated[list[str], Field(min_length=2)]
    numbers: set[int]
    pair: tuple[int, str]
    prices: dict[str, float]
    shipping: Address
    billing: Address | None = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    tree: Node
    anything: Any = None
    size: int | str = 3
    odd: Odd


@app.post("/orders", status_code=201, dependencies=QUEUES)
def order(order: Order) -> dict[str, str]:
    return {"id": str(order.id)}


class Example(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "A title", "isbn_id": "x-1", "n": None}]})

    title: str
    isbn_id: Literal["x-1"] | str
    n: int | None = None


@app.put("/examples", dependencies=QUEUES)
def examples(item: Example, background_tasks: BackgroundTasks) -> None:
    assert item.title.startswith("A title ")
    assert item.isbn_id == "x-1"
    background_tasks.add_task(written.append, item.title)


@app.post("/named-examples", dependencies=QUEUES)
def named_examples(
    word: Annotated[str, Body(embed=True, openapi_examples={"first": {"value": "ignored"}})],
    size: Annotated[str, Query(openapi_examples={"first": {"summary": "S"}, "second": {"value": "XL"}})],
) -> None:
    assert size.startswith("XL")


@app.patch("/lists", dependencies=QUEUES)
def lists(items: list[Address], q: Annotated[list[int], Query(min_length=3)]) -> None:
    assert len(items) == 1
    assert len(q) == 3


@app.post("/scalar", dependencies=QUEUES)
def scalar(number: Annotated[int, Body(ge=5)]) -> None:
    assert number >= 5


class Filter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(gt=0, le=100)] = 100
    order_by: Literal["created", "updated"] = "created"
    word: str | None = None


@app.get("/filtered", dependencies=QUEUES)
def filtered(query: Annotated[Filter, Query()]) -> None:
    assert query.word


@app.get("/items/{number}/{ratio}/{colour}/{name}", dependencies=QUEUES)
def in_path(number: Annotated[int, Path(ge=100)], ratio: float, colour: Colour, name: str) -> None:
    assert name


@app.get("/known/{slug}", dependencies=QUEUES)
def known(slug: Annotated[str, Path(examples=["a b/c?"[:3]])]) -> None:
    assert slug == "a b"


@app.get("/files/{file_path:path}/end", dependencies=QUEUES)
def file_path(file_path: str) -> None:
    assert file_path


@app.get("/headers", dependencies=QUEUES)
def headers(
    user_agent: Annotated[str, Header()],
    x_key: Annotated[str, Header()],
    x_count: Annotated[int, Header()],
    x_request_id: Annotated[str | None, Header()] = None,
    session: Annotated[str, Cookie(min_length=20)] = "",
    odd: Annotated[str | None, Header(examples=["中\n"])] = None,
) -> None:
    assert len(session) >= 20
    assert odd is None


@app.post("/form", status_code=202, dependencies=QUEUES)
def form(name: Annotated[str, Form()], n: Annotated[int, Form(ge=3)], agreed: Annotated[bool, Form()]) -> None:
    assert agreed


class Profile(BaseModel):
    email: str
    nick: str | None = None
    tags: list[str] = []


@app.post("/form-model", dependencies=QUEUES)
def form_model(profile: Annotated[Profile, Form()]) -> None:
    assert "@" in profile.email


@app.post("/uploads", dependencies=QUEUES)
async def uploads(
    one: Upload,
    many: list[Upload],
    raw: Annotated[bytes, File()],
    title: Annotated[str, Form()],
    more: Upload | None = None,
) -> None:
    assert (await one.read()).endswith(b"\n")
    assert len(many) == 1
    assert raw


@app.post(
    "/text",
    dependencies=QUEUES,
    openapi_extra={"requestBody": {"content": {"text/plain": {"schema": {"type": "string", "example": "a word"}}}}},
)
async def text(request: Request) -> None:
    assert (await request.body()).startswith(b"a word ")
    assert request.headers["content-type"] == "text/plain"


@app.post(
    "/vendor",
    dependencies=QUEUES,
    openapi_extra={"requestBody": {"content": {"application/vnd.x+json": {"schema": {"type": "array"}}}}},
)
async def vendor(request: Request) -> None:
    assert len(await request.json()) == 1


@app.delete("/gone/{name}", status_code=204, response_class=Response, dependencies=QUEUES)
def gone(name: str) -> None:
    """No body."""


@app.get("/plain", response_class=PlainTextResponse, responses={404: {}, 203: {}}, dependencies=QUEUES)
def plain() -> str:
    return "plain"


@app.get("/nested")
def nested(_: Annotated[None, Depends(deep)]) -> None:
    """Only a dependency of a dependency takes `BackgroundTasks`."""


@app.get("/hidden/{name}", include_in_schema=False)
def hidden(name: str, background_tasks: BackgroundTasks) -> None:
    background_tasks.add_task(written.append, name)


@app.get("/without")
def without() -> None:
    """Takes no `BackgroundTasks`."""


@app.get("/secured/bearer", dependencies=[*QUEUES, Depends(HTTPBearer())])
@app.get("/secured/basic", dependencies=[*QUEUES, Depends(HTTPBasic())])
@app.get("/secured/header", dependencies=[*QUEUES, Depends(APIKeyHeader(name="X-API-Key"))])
@app.get("/secured/query", dependencies=[*QUEUES, Depends(APIKeyQuery(name="api_key"))])
def secured() -> None:
    """Reject requests without credentials."""


inner = APIRouter(prefix="/inner")
outer = APIRouter(prefix="/outer", dependencies=QUEUES)


@inner.api_route("/both", methods=["GET", "POST"])
def both() -> None:
    """The including router queues the task."""


outer.include_router(inner, prefix="/between")
app.include_router(outer)

mounted = FastAPI()
innermost = FastAPI()


class MountedOnly(BaseModel):
    word: Annotated[str, Field(min_length=30)]


@innermost.post("/words", dependencies=QUEUES)
def words(body: MountedOnly) -> None:
    assert re.search("[0-9a-f]", body.word)


mounted.mount("/again", innermost)
app.mount("/tenants/{tenant}", mounted)

router = APIRouter()


@router.get("/in-a-router", dependencies=QUEUES)
def in_a_router(q: int) -> None:
    """An operation of a mounted router, which has no OpenAPI document."""


app.mount("/router", router)
