"""A short soak test; ``python -m tests.soak`` runs a long one."""

import asyncio
import sys
from pathlib import Path

from tests.soak.growth import MIN_SAMPLES, Growth, Sample, sample
from tests.soak.ledger import Ledger, requests
from tests.soak.run import SoakResult, soak

# A fastbg that keeps all parts of its journal: on a busy machine parts are deleted before they are read.
KEEP_ALL_PARTS = "from fastbg.recorder import rotation; rotation.KEPT = 10**6; from fastbg.cli import main; main()"


def test_short_soak_accounts_for_every_write_and_event(tmp_path: Path) -> None:
    result = SoakResult(tmp_path / "data")
    result.folder.mkdir()

    def enough() -> bool:
        return result.ledger.answered >= 40 and result.rotations >= 2 and len(result.demos) >= 1

    async def run() -> None:
        serving = (sys.executable, "-c", KEEP_ALL_PARTS)
        await soak(result, rate=40, workers=1, journal_mib=0.01, enough=enough, stop=asyncio.Event(), serving=serving)

    asyncio.run(run())
    assert result.faults == []
    assert set(result.demos) == {0}
    assert result.ledger.complete == result.ledger.answered == result.ledger.sent >= 40
    assert result.rotations >= 2
    assert {"serve", "tail"} <= result.growth.samples.keys()


def test_what_is_missing_or_doubled_is_a_fault(tmp_path: Path) -> None:
    ledger = Ledger()
    request = next(requests())
    ledger.send(request)
    lines = [
        {"source": "server", "event": name, "request": request.request_id, "detail": {} if n is None else {"n": n}}
        for name, n in request.events
    ]
    for line in lines[1:]:
        ledger.add_line(line)
    assert ledger.missing() == [f"{request.request_id}: missing [\"('request_received', None)\"]"]
    ledger.add_line(lines[1])
    assert "unexpected event" in ledger.faults[-1]
    ledger.add_line(lines[0])
    assert (ledger.complete, ledger.missing()) == (1, [])
    (tmp_path / "README.md").write_text("".join(text for _, text in request.writes), encoding="utf-8")
    (tmp_path / "log.txt").write_text("one\n", encoding="utf-8")
    ledger.followed["README.md"].append(request.writes[0][1])
    assert ledger.compare(tmp_path) == [
        "log.txt: 1 x 'one' unexpected",
        "log.txt: the output of tail differs from the file",
    ]


def test_growth_is_found_and_what_is_flat_is_none() -> None:
    growth = Growth()
    for number in range(MIN_SAMPLES):
        growth.samples["grows"].append(Sample(50_000 + 200 * number, 10 + number, 5))
        growth.samples["is flat"].append(Sample(50_000 + 500 * (number % 2), 10 + number % 2, 5))
    assert [(row.process, row.what) for row in growth.rows() if not row.ok] == [
        ("grows", "memory"),
        ("grows", "descriptors"),
    ]
    growth.samples["is flat"].pop()
    assert {row.process for row in growth.rows()} == {"grows"}
    assert sample(2**22 + 1) is None
