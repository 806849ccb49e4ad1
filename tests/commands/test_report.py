"""`fastbg report`: the journals that its arguments name, and several journals in one report."""

import errno
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fastbg.commands.report_journals import find_journals
from fastbg.errors import FastbgError
from tests.support.processes import FASTBG, PATIENCE_S, environment, fastbg
from tests.support.recordings import TASK, line, mail, received, sent

WALL_NS = 1_700_000_000 * 10**9
POD_1, POD_2 = "shop-api-7d9c6b5f4-x2x8q", "shop-api-7d9c6b5f4-9k2lm"


def write(folder: Path, *lines: bytes) -> Path:
    """Write the journal of ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "journal.jsonl"
    journal.write_bytes(b"".join(lines))
    return journal


def at(second: int, request: str, host: str | None = None, boot: str = "b1") -> bytes:
    """Return the lines of a request that was received ``second`` seconds after the others began."""
    fields: dict[str, Any] = {} if host is None else {"host": host}
    return mail(request=request, boot=boot, wall_ns=WALL_NS + second * 10**9, **fields)


def report(*arguments: str | Path, cwd: Path, **more: Any) -> str:
    result = fastbg("report", *arguments, cwd=cwd, **more)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout.decode()


def refusal(*arguments: str | Path, cwd: Path, **more: Any) -> str:
    result = fastbg("report", *arguments, cwd=cwd, **more)
    assert (result.returncode, result.stdout) == (2, b"")
    return result.stderr.decode()


def document(*arguments: str | Path, cwd: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report("--json", *arguments, cwd=cwd))
    return found


# which journals


def test_without_argument_the_data_folder_is_read(tmp_path: Path) -> None:
    write(tmp_path / ".fastbg", mail())
    write(tmp_path / "other", mail(), mail(request="r2"))
    assert "1 request: 1 response-first." in report(cwd=tmp_path)
    assert "2 requests: 2 response-first." in report("--dir", "other", cwd=tmp_path)
    assert "2 requests: 2 response-first." in report(cwd=tmp_path, FASTBG_DIR="other")


def test_missing_journal_says_where_and_how_to_get_one(tmp_path: Path) -> None:
    for arguments, where in (((), ".fastbg/journal.jsonl"), (("--dir", "data"), "data/journal.jsonl")):
        complaint = refusal(*arguments, cwd=tmp_path)
        assert f"where: {where}\n" in complaint
        assert "fix: start your server with `fastbg run`, or run `fastbg demo`" in complaint


def test_data_folder_and_arguments_cannot_be_combined(tmp_path: Path) -> None:
    write(tmp_path / "pod1", mail())
    complaint = refusal("pod1", "--dir", ".", cwd=tmp_path)
    assert "--dir and JOURNAL cannot be combined" in complaint
    assert "where: --dir .\n" in complaint
    assert "1 request" in report("pod1", cwd=tmp_path, FASTBG_DIR="elsewhere")


def test_folder_is_read_as_its_journal(tmp_path: Path) -> None:
    journal = write(tmp_path / "pod1", mail())
    assert document("pod1", cwd=tmp_path)["journal"] == "pod1/journal.jsonl"
    journal.rename(journal.with_name("journal.jsonl.1"))  # as a rotation that was killed leaves it
    assert "1 request: 1 response-first." in report("pod1", cwd=tmp_path)


def test_folder_without_a_journal_names_those_in_it(tmp_path: Path) -> None:
    write(tmp_path / "pods" / "pod\x1b1", mail())
    write(tmp_path / "pods" / "pod2" / ".fastbg", mail())
    (tmp_path / "pods" / "empty").mkdir()
    complaint = refusal("pods", cwd=tmp_path)
    assert "    pods/pod\\x1b1\n    pods/pod2/.fastbg\n  fix: name one or more of these folders" in complaint
    assert "empty" not in complaint
    assert "there is no journal\n  where: pods/empty/journal.jsonl" in refusal("pods/empty", cwd=tmp_path)


def test_folder_of_another_user_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_there(path: Path) -> bool:
        if "private" in path.parts:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return path.is_file()

    write(tmp_path / "shop", mail())
    (tmp_path / "private").mkdir()
    monkeypatch.setattr(Path, "exists", is_there)
    with pytest.raises(FastbgError, match="these folders in it have one") as error:
        find_journals([tmp_path], tmp_path)
    assert error.value.details == (str(tmp_path / "shop"),)


def test_journal_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    journal = write(tmp_path / "pod1", mail())
    journal.with_name("journal.jsonl.1").write_bytes(mail(request="r0"))
    (tmp_path / "link").symlink_to("pod1")
    for other in ("pod1", "link", "pod1/../pod1/journal.jsonl", "pod1/journal.jsonl.1"):
        complaint = refusal("pod1/journal.jsonl", other, cwd=tmp_path)
        assert "the same journal is named twice\n  where: pod1/journal.jsonl and " in complaint
    assert "the same journal is named twice" in refusal("-", "-", cwd=tmp_path)


def test_unreadable_journal_among_others_is_named(tmp_path: Path) -> None:
    write(tmp_path / "pod1", mail())
    (tmp_path / "app.py").write_text("import this\n")
    assert "where: app.py\n" in refusal("pod1", "app.py", cwd=tmp_path)
    assert "where: pod9/journal.jsonl\n" in refusal("pod1", "pod9/journal.jsonl", cwd=tmp_path)


# several journals


def test_requests_are_in_the_order_of_the_wall_clock(tmp_path: Path) -> None:
    write(tmp_path / "pod1", at(0, "a", POD_1), at(4, "c", POD_1))
    write(tmp_path / "pod2", at(2, "b", POD_2, "b2"), at(6, "d", POD_2, "b2"))
    found = document("pod1", "pod2", "--last", "3", cwd=tmp_path)
    requests = found["requests"]
    assert [(each["request_id"], each["host"]) for each in requests] == [("b", POD_2), ("c", POD_1), ("d", POD_2)]
    assert [each["journal"] for each in requests] == ["pod2/journal.jsonl", "pod1/journal.jsonl", "pod2/journal.jsonl"]
    text = " ".join(report("pod1", "pod2", cwd=tmp_path).split())
    assert "2 journals 24 events, 4 requests, 2 server processes" in text
    assert "The order of the requests is approximate: it follows the wall clocks of the hosts." in text
    assert "The journals cover 2 boots; times of different boots are not compared." in text


def test_totals_are_of_all_journals(tmp_path: Path) -> None:
    failed = line(1005, "task_failed", **TASK, error="ValueError: no", host=POD_2)
    write(tmp_path / "pod1", at(0, "a", POD_1), at(1, "b", POD_1), b"torn\n")
    write(tmp_path / "pod2", received(host=POD_2), sent(host=POD_2), line(1003, "task_started", **TASK), failed)
    found = document("pod1", "pod2", cwd=tmp_path)
    summary = found["summary"]
    assert (summary["requests"], summary["response_first"], summary["failed"], summary["unfinished"]) == (3, 2, 1, 1)
    assert (summary["task_ms"]["min"], summary["task_ms"]["max"]) == (2.0, 500.0)
    assert (found["journal"], found["foreign_lines"], found["processes"], found["boots"]) == (None, 1, 2, 1)
    journals = found["journals"]
    assert [(each["path"], each["hosts"], each["requests"], each["failed"]) for each in journals] == [
        ("pod1/journal.jsonl", [POD_1], 2, 0),
        ("pod2/journal.jsonl", [POD_2], 1, 1),
    ]


def test_one_journal_has_one_entry_in_journals(tmp_path: Path) -> None:
    write(tmp_path / "pod1", mail())
    found = document("pod1", cwd=tmp_path)
    (journal,) = found["journals"]
    assert (found["journal"], journal["path"], journal["hosts"]) == (*["pod1/journal.jsonl"] * 2, [])


def test_same_id_in_two_journals_is_two_requests(tmp_path: Path) -> None:
    lines = mail(host=POD_1).splitlines(keepends=True)
    write(tmp_path / "pod1", *lines[:3])
    write(tmp_path / "pod2", mail(host=POD_2))  # same boot and process id, as in containers of one machine
    summary = document("pod1", "pod2", cwd=tmp_path)["summary"]
    assert (summary["requests"], summary["response_first"], summary["lost"]) == (2, 1, 1)


def test_every_request_is_below_its_host(tmp_path: Path) -> None:
    write(tmp_path / "pod1", at(0, "a", POD_1), at(1, "b", POD_1))
    write(tmp_path / "pod2", at(2, "c", POD_2))
    text = report("pod1", "pod2", cwd=tmp_path, COLUMNS="60")
    names = re.findall(rf"^({POD_1}|{POD_2}|POST /mail)(?: |$)", text, re.MULTILINE)
    assert names == [POD_1, "POST /mail", "POST /mail", POD_2, "POST /mail"] * 2
    assert re.search(rf"^pod2 +{POD_2} +1 +1 -", text, re.MULTILINE)


def test_journal_names_a_request_whose_host_is_unknown(tmp_path: Path) -> None:
    write(tmp_path / "pod1", at(0, "a"))
    write(tmp_path / "pod2", at(1, "b", POD_2))
    text = report("pod1", "pod2", cwd=tmp_path)
    assert len(re.findall(r"^pod1 *\nPOST /mail", text, re.MULTILINE)) == 2
    assert len(re.findall(rf"^{POD_2} *\nPOST /mail", text, re.MULTILINE)) == 2


def test_journal_names_the_requests_of_one_host(tmp_path: Path) -> None:
    write(tmp_path / "shop" / ".fastbg", at(0, "a", "web"))
    write(tmp_path / "mail" / ".fastbg", at(1, "b", "web"))
    text = report("shop/.fastbg", "mail/.fastbg", cwd=tmp_path)
    assert re.findall(r"^(shop|mail) *\nPOST", text, re.MULTILINE) == ["shop", "mail"] * 2


def test_one_journal_of_one_host_has_no_heading(tmp_path: Path) -> None:
    write(tmp_path / "pod1", at(0, "a", POD_1))
    assert POD_1 not in report("pod1", cwd=tmp_path)
    write(tmp_path / "shared", at(0, "a", POD_1), at(1, "b", POD_2))
    assert report("shared", cwd=tmp_path).count(POD_2) == 2


@pytest.mark.parametrize("columns", [60, 80])
def test_long_names_never_cut_a_verdict(tmp_path: Path, columns: int) -> None:
    nasty = "\x1b[31m" + "x" * 300
    path = "/" + "long/" * 50
    for name in ("first" * 20, "second" * 20):
        lost = received(request="r2", host=nasty + name, path=path) + line(1001, "task_queued", "r2", **TASK)
        write(tmp_path / name, at(0, "r1", nasty + name), lost)
    text = report(*(path.name for path in tmp_path.iterdir()), cwd=tmp_path, COLUMNS=str(columns))
    assert max(map(len, text.splitlines())) <= columns
    assert "\x1b" not in text
    assert (text.count(" response-first"), text.count(" lost"), text.count("…") > 4) == (3, 5, True)


def test_journal_of_a_pipe_beside_a_file(tmp_path: Path) -> None:
    write(tmp_path / "pod1", at(0, "a", POD_1))
    result = subprocess.run(
        [*FASTBG, "report", "--json", "-", "pod1"],
        input=at(1, "b", POD_2),
        capture_output=True,
        cwd=tmp_path,
        env=environment(),
        timeout=PATIENCE_S,
        check=True,
    )
    found = json.loads(result.stdout)
    assert [each["path"] for each in found["journals"]] == ["standard input", "pod1/journal.jsonl"]
    assert [each["request_id"] for each in found["requests"]] == ["a", "b"]


# tasks in workers whose server writes another journal


def by_worker(t_ms: float, event: str, request: str = "r1", *, boot: str = "b1", **more: Any) -> bytes:
    more = {"where": "worker", "worker": "worker-0@far", "server": "b1/7"} | more
    return line(t_ms, event, request, boot=boot, pid=99, host="far", **TASK, **more)


def queued(request: str = "r1", **more: Any) -> bytes:
    """Return the lines of a request whose task is in a queue."""
    queue = line(1001, "task_queued", request, **TASK, where="worker", **more)
    return (
        received(request=request, **more)
        + queue
        + sent(1002, request, **more)
        + line(1003, "request_finished", request)
    )


@pytest.mark.parametrize("names", [("server", "worker"), ("worker", "server")])
def test_task_of_a_worker_counts_for_its_request(tmp_path: Path, names: tuple[str, str]) -> None:
    write(tmp_path / "server", queued())
    write(tmp_path / "worker", by_worker(1010, "task_started"), by_worker(1020, "task_finished"))
    found = document(*names, cwd=tmp_path)
    (request,) = found["requests"]
    assert (request["verdict"], request["evidence"], request["done_ms"]) == ("response-first", ["server+worker"], 20.0)
    assert (found["stray_events"], found["summary"]["unfinished"]) == (0, 0)
    assert document("server", cwd=tmp_path)["summary"]["lost"] == 1


def test_times_of_a_worker_under_another_boot_prove_nothing(tmp_path: Path) -> None:
    write(tmp_path / "server", queued())
    write(tmp_path / "worker", by_worker(10, "task_started", boot="b2"), by_worker(20, "task_finished", boot="b2"))
    (request,) = document("server", "worker", cwd=tmp_path)["requests"]
    assert (request["verdict"], request["tasks"][0]["state"]) == ("unproven", "finished")
    assert "another boot" in request["reason"]


def test_event_of_a_worker_without_its_request_is_counted(tmp_path: Path) -> None:
    write(tmp_path / "server", mail(request="r2"))
    write(tmp_path / "worker", by_worker(1010, "task_started"), by_worker(1020, "task_finished"))
    text = " ".join(report("server", "worker", cwd=tmp_path).split())
    assert "2 events belong to requests whose start is not in the journals" in text


@pytest.mark.parametrize("kind", ["gap", "deleted"])
def test_end_that_a_worker_may_have_lost_is_unproven(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "server", queued())
    journal = write(tmp_path / "worker", by_worker(1010, "task_started"))
    if kind == "gap":
        journal.write_bytes(journal.read_bytes() + line(1015, "events_lost", None, count=1))
    else:
        journal.rename(journal.with_name("journal.jsonl.2"))
    (request,) = document("server", "worker", cwd=tmp_path)["requests"]
    assert request["verdict"] == "unproven"


def test_worker_that_may_serve_two_requests_proves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "pod1", queued(host=POD_1))
    write(tmp_path / "pod2", queued(host=POD_2))
    write(tmp_path / "worker", by_worker(1010, "task_started"), by_worker(1020, "task_finished"))
    requests = document("pod1", "pod2", "worker", cwd=tmp_path)["requests"]
    assert [each["verdict"] for each in requests] == ["unproven", "unproven"]


# saved files


def rows(page: Path) -> list[Any]:
    """Return the rows that the script of a page draws."""
    data = re.search(r'<script type="application/json">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert data is not None
    found: list[Any] = json.loads(data[1])["rows"]
    return found


def test_page_has_all_requests_and_the_terminal_the_last(tmp_path: Path) -> None:
    write(tmp_path, *(mail(request=f"r{number}") for number in range(30)))
    result = fastbg("report", ".", "--save", "page.html", "--save", "picture.svg", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, b"Saved page.html\nSaved picture.svg\n")
    assert len(rows(tmp_path / "page.html")) == 30
    assert b"the last 20 requests" in result.stdout
    assert "20" in (tmp_path / "picture.svg").read_text("utf-8")
    fastbg("report", ".", "--save", "page.html", "--last", "5", cwd=tmp_path)
    assert len(rows(tmp_path / "page.html")) == 5


def test_page_of_several_journals_has_their_hosts(tmp_path: Path) -> None:
    write(tmp_path / "a", at(0, "r1", POD_1))
    write(tmp_path / "b", at(1, "r2", POD_2))
    report_ = fastbg("report", "a", "b", "--save", "page.html", "--json", cwd=tmp_path)
    assert json.loads(report_.stdout)["summary"]["requests"] == 2
    assert all(pod in (tmp_path / "page.html").read_text("utf-8") for pod in (POD_1, POD_2))


def test_file_that_cannot_be_saved_is_refused_first(tmp_path: Path) -> None:
    assert "must be an .svg or .html file" in refusal("--save", "x.png", cwd=tmp_path)
    assert "the folder" in refusal("--save", "no/x.html", cwd=tmp_path)


# numbers that are too large


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--trace", "trace.json")], ids=["text", "json", "trace"])
@pytest.mark.parametrize("field", ["ms", "waited_ms", "unfinished", "count", "status", "bytes", "n", "pid", "wall_ns"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_number_that_is_too_large_is_no_traceback(
    field: str, arguments: tuple[str, ...], sign: str, tmp_path: Path
) -> None:
    number = "1.7e308" if field.endswith("_ms") or field == "ms" else "9" * 4200
    lines = [
        received(),
        line(1001, "task_queued", **TASK),
        sent(),
        line(1003, "task_started", **TASK, where="thread", waited_ms=1.5),
        *[line(1004, "loop_blocked", **TASK, ms=1.5)] * 3,
        line(1004, "loop_blocked", None, place="x", path="", ms=1.5),
        line(1005, "task_finished", **TASK),
        line(1006, "request_finished"),
        line(1007, "events_lost", None, count=1),  # no earlier: a gap in the journal makes all requests unproven
        line(1007, "shutdown", None, unfinished=1, requests=1, tasks=["a"], since_ns=0, waits=False),
    ]
    large = re.sub(rf'("{field}": )[^,}}]+'.encode(), rb"\g<1>" + (sign + number).encode(), b"".join(lines))
    assert large != b"".join(lines)
    journal = write(tmp_path, received(999, "r0"), line(1000, "request_finished", "r0"), large)
    result = fastbg("report", journal, *arguments, cwd=tmp_path)
    assert (result.returncode, b"Traceback" in result.stderr) == (0, False)
    if arguments == ("--json",):
        json.loads(result.stdout)
