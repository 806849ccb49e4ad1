"""The shapes of requests that `tests.truth` sends: kinds of responses, of tasks, and of clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MIB = 1_000_000
SCRIPT = """
url = "%s"
folder = "${dir}"
follow = ["log.txt"]
"""
REQUEST = """
[[request]]
name = "%s"
method = "%s"
path = "%s"
headers = { %s }
expect.status = "any"
expect.verdict = "any"
expect.writes = [%s]
"""


@dataclass(frozen=True, slots=True)
class RawClient:
    """What a client does that httpx cannot do. It closes its connection right after the last byte.

    ``http``: the version that it sends. ``pace_s``: pause before each read of a small receive buffer. ``stop_after``:
    bytes after which it closes the connection. ``body``: it waits for "100 Continue" before it sends this body.
    """

    http: str = "1.1"
    pace_s: float = 0
    stop_after: int | None = None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of request. ``path``: with query.

    ``tasks``: number of background tasks that the app makes for it in any case. ``writes``: what it appends to the log,
    after the id. ``client``: None if `fastbg demo` sends it. ``ends_with_connection``: nothing else marks the end of
    its response.
    """

    name: str
    path: str
    method: str = "GET"
    tasks: int = 1
    writes: Sequence[str] = ("0",)
    headers: Mapping[str, str] = field(default_factory=dict)
    client: RawClient | None = None
    ends_with_connection: bool = False

    @property
    def share(self) -> float:
        """The share of the repetitions. A slow client takes seconds."""
        return 0.25 if self.client and self.client.pace_s else 1

    @property
    def in_script(self) -> str:
        """The request as a part of a script."""
        headers = {"X-Request-ID": "${mark}", **self.headers}
        writes = [f'{{ file = "log.txt", text = "${{mark}} {name}\\n" }}' for name in self.writes]
        return REQUEST % (
            self.name,
            self.method,
            self.path,
            ", ".join(f'{name} = "{value}"' for name, value in headers.items()),
            ", ".join(writes),
        )


CLOSE = {"Connection": "close"}
HTTP_1_0 = RawClient(http="1.0")
SLOW_READER = RawClient(pace_s=0.001)

TASKS = (
    Shape("def", "/thread", "POST"),
    Shape("def, slow", "/thread?work=0.1", "POST"),
    Shape("async def", "/loop", "POST"),
    Shape("async def, slow", "/loop?work=0.1", "POST"),
    Shape("async def, blocks the loop", "/blocking?work=0.01", "POST"),
    Shape("two tasks", "/two", "POST", tasks=2, writes=("0", "1")),
    Shape("two tasks, slow", "/two?work=0.05", "POST", tasks=2, writes=("0", "1")),
    Shape("collection", "/collection", "POST", tasks=2, writes=("0", "1")),
    Shape("subclass with its own __call__", "/subclass", "POST"),
    Shape("plain callable", "/callable", "POST"),
    Shape("awaited before", "/inline", "POST"),
    Shape("one awaited before, one after", "/inline-and-after", "POST", tasks=2, writes=("0", "1")),
    Shape("create_task, races", "/racing?most=0.001", "POST"),
    Shape("create_task, overlaps", "/overlapping?work=0.05&wait=0.01", "POST"),
    Shape("create_task, starts with the response", "/overlapping?work=0.02&wait=0", "POST"),
    Shape("fails", "/failing", "POST"),
    Shape("returns a coroutine", "/coroutine", "POST"),
    Shape("dropped by an exception", "/dropped", "POST"),
    Shape("made, never called", "/made", "POST"),
    Shape("queued after the response, never run", "/after-yield", "POST"),
    Shape("queued after the response, run", "/queued-late", "POST", tasks=0),
)
WITHOUT_TASKS = (
    Shape("no task, writes before", "/foreground", "POST", tasks=0),
    Shape("a thread writes at random", "/stray?most=0.0005", "POST"),
    Shape("finally writes after Content-Length", "/download", tasks=0),
    Shape("finally writes later", "/download?work=0.02", tasks=0),
    Shape("HEAD, finally writes", "/download", "HEAD", tasks=0),
    Shape("middleware around the body writes", "/wrapped-body/short", tasks=0),
    Shape("middleware around the body writes, task", "/wrapped-body/task", writes=("0", "1")),
    Shape("middleware around send writes", "/wrapped-send/short", tasks=0),
)
RESPONSES = (
    Shape("HEAD", "/thread", "HEAD"),
    Shape("HEAD of a file", "/file", "HEAD"),
    Shape("204", "/empty?status=204"),
    Shape("304", "/empty?status=304"),
    Shape("empty body", "/empty?status=200"),
    Shape("FileResponse, 2 x 64 KiB", "/file"),
    Shape("FileResponse, 2 x 64 KiB, slow task", "/file?work=0.1"),
    Shape("chunked", "/chunked"),
    Shape("chunked, slow task", "/chunked?work=0.1"),
    Shape("Connection: close", "/thread", "POST", headers=CLOSE),
    Shape("Connection: close, chunked", "/chunked", headers=CLOSE),
    Shape("fewer bytes than announced", "/fewer"),
    Shape("more bytes than announced", "/more"),
    Shape("1 MB", f"/big?size={MIB}"),
    Shape("1 MB, slow task", f"/big?size={MIB}&work=0.1"),
    Shape("1 MB, streamed", f"/streamed?size={MIB // 10}&count=10"),
)
CLIENTS = (
    Shape("closes at once", "/thread", client=RawClient()),
    Shape("closes at once, slow task", "/loop?work=0.1", client=RawClient()),
    Shape("closes at once, file", "/file?work=0.02", client=RawClient()),
    Shape("closes at once, chunked", "/chunked?work=0.02", client=RawClient()),
    Shape("closes in the middle", f"/streamed?size={MIB // 10}&count=200", client=RawClient(stop_after=10_000)),
    Shape("100 Continue", "/loop", "POST", client=RawClient(body=b"x" * 100)),
    Shape("HTTP/1.0", "/thread", client=HTTP_1_0),
    Shape("HTTP/1.0, without length", "/chunked", client=HTTP_1_0, ends_with_connection=True),
    Shape("slow client, 1 MB", f"/big?size={MIB}", client=SLOW_READER),
    Shape("slow client, 8 MB", f"/big?size={8 * MIB}", client=SLOW_READER),
    Shape("slow client, 1 MB, chunked", f"/chunked?size={MIB // 10}&count=10", client=SLOW_READER),
    Shape("slow client, 1 MB, streamed", f"/streamed?size={MIB // 10}&count=10", client=SLOW_READER),
)
SHAPES = (*TASKS, *WITHOUT_TASKS, *RESPONSES, *CLIENTS)
