"""The built-in scripts and their expected results with the installed versions."""

import json
import os
import re
from pathlib import Path

import pytest

from fastbg.scripting import builtin
from fastbg.scripting.builtin import DEFAULT, built_in, listed, missing_extra, script
from tests.support.delays import unmet_except_time_limits
from tests.support.documentation import page
from tests.support.processes import fastbg
from tests.support.servers import ROOT

SCENARIOS = [name for name in built_in() if name != DEFAULT]


@pytest.mark.long
def test_all_scripts_have_the_expected_results(tmp_path: Path) -> None:
    result = fastbg("demo", "all", "--json", cwd=tmp_path, timeout=300.0)
    written = json.loads(result.stdout)
    assert [run["script"] for run in written["runs"]] == built_in()
    assert ([unmet_except_time_limits(run) for run in written["runs"]], result.stderr) == ([[]] * len(built_in()), b"")
    assert result.returncode == (0 if written["ok"] else 1)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_has_a_question_an_answer_and_links(name: str) -> None:
    source = script(name, os.environ).script
    assert source.title.endswith("?")
    assert source.about.endswith(".")
    assert source.group
    assert source.links
    assert len(source.parts) >= 2
    for part in source.parts:
        assert part.about
        assert all(request.about for request in part.requests)
    app = ROOT / "fastbg" / "scripts" / f"{name.replace('-', '_')}.py"
    assert not re.search(r"(import|from) fastbg(?!\.example)", app.read_text("utf-8"))


def test_harness_knows_no_scenario_by_its_name() -> None:
    names = {name for name in SCENARIOS if "-" in name} - {"own-response"}  # is also a reason in the journal
    for path in (ROOT / "fastbg").rglob("*.py"):
        if path.parent.name != "scripts":
            found = {name for name in names if re.search(rf"[\"']{name}[\"']", path.read_text("utf-8"))}
            assert not found, path


def test_list_shows_every_script_with_its_question_by_group(tmp_path: Path) -> None:
    output = fastbg("demo", "--list", cwd=tmp_path, COLUMNS="200").stdout.decode()
    for group, sources in listed(os.environ).items():
        assert f"\n{group}" in "\n" + output
        for source in sources:
            line = rf"^  {source.name.removesuffix('.toml')} +{re.escape(source.script.title)} *$"
            assert re.search(line, output, re.MULTILINE)


def test_page_lists_every_scenario_with_its_question() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+\?) \|$", page("catalogue"), re.MULTILINE)
    assert rows == [
        (source.name.removesuffix(".toml"), source.script.title)
        for sources in listed(os.environ).values()
        for source in sources
        if source.name != f"{DEFAULT}.toml"
    ]


def test_part_of_a_script_is_selected_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'app = "a:b"\n' + "".join(
        f'[[part]]\nname = "{name}"\n[[part.request]]\nname = "a"\npath = "/"\n' for name in ("one", "two: more")
    )
    for name in ("shop.toml", "shop.toml:one"):  # an existing file wins
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    selected = [
        (source.label, [part.name for part in source.script.parts])
        for source in (
            script(name, {}) for name in ("sigkill:remedy", "shop.toml:two: more", "shop.toml:one", "shop.toml:one:one")
        )
    ]
    assert selected == [
        ("sigkill:remedy", ["remedy"]),
        ("shop:two: more", ["two: more"]),
        ("shop.toml:one", ["one", "two: more"]),
        ("shop.toml:one:one", ["one"]),
    ]


def test_parts_with_missing_packages_are_skipped_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [part.name for part in script("sigkill", {}).script.parts if part.worker]
    monkeypatch.setattr(builtin, "find_spec", lambda name: None)
    source = script("sigkill", {})
    assert [part.name for part in source.script.parts] == ["trap", "remedy", "remedy, after the restart"]
    (remark,) = source.remarks
    assert "pip install '.[queue]' (in the clone of fastbg): queue, server killed" in remark
    assert missing_extra(script("register-email", {}), {}) == "mail"
    assert missing_extra(script("register-email", {}), {"FASTBG_SMTP": "localhost:25"}) is None
    assert missing_extra(script("worker-timeout", {}), {}) == "gunicorn"
    assert missing_extra(script("max-requests", {}), {}) == "gunicorn"
    assert missing_extra(script("blocking-async", {}), {}) is None
