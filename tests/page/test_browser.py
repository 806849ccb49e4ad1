"""Saved pages in a real Chromium."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from fastbg.commands.report import read_history
from fastbg.evidence.results import RequestResult
from fastbg.evidence.trace import ReceivedBody, Trace
from fastbg.page.journal_page import save_journal_page
from fastbg.page.run_page import save_page
from fastbg.report.timelines import marks_of
from fastbg.scripting.source_code import source_code
from fastbg.scripting.source_files import AppCode
from tests.support.browser import started, tab
from tests.support.recordings import received, sent, write_long_journal
from tests.support.results import background, foreground, in_milliseconds, runs
from tests.support.traces import answered, expecting, finished, requested, task, trace

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m\u202e${1}"
FIRST = ".request >> nth=0"
SHOP = "async def trap():\n    time.sleep(1)\n\n\ndef remedy():\n    pass\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


def failing() -> Trace:
    made = task(
        answered(trace(writes=0, verdict="failed"), 1002, size=100), 1003, "task_failed", error="ValueError: no"
    )
    return in_milliseconds(finished(requested(made, name="mail", part="trap")))


def saved(folder: Path, *traces: Trace, **changes: object) -> Path:
    path = folder / "page.html"
    code = AppCode((source_code("/srv/shop.py", SHOP, [("trap", "time.sleep"), ("remedy", "remedy")]),), ())
    save_page(runs(*traces, **changes), path, code=[code])
    return path


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page with a response-first, a work-first and a failed request."""
    return saved(tmp_path, background(), foreground(), failing(), title="Why?", links=("https://example.org/a",))


def test_page_loads_nothing_and_complains_about_nothing(browser: Browser, page: Path) -> None:
    with tab(browser, page) as opened:
        assert opened.requests == [page.as_uri()]
        assert opened.complaints == []
        assert opened.texts("h1") == ["Why?"]
        assert opened.page.locator("a[href='https://example.org/a']").count() == 1


def test_texts_from_outside_stay_texts(browser: Browser, tmp_path: Path) -> None:
    made = expecting(requested(background(), name=HOSTILE, part=HOSTILE, url=f"http://x/{HOSTILE}"), verdict="lost")
    made.body = ReceivedBody(HOSTILE)
    named: dict[str, object] = dict.fromkeys(("title", "about", "server", "name", "warning"), HOSTILE)
    path = saved(tmp_path, made, links=(f"javascript:{HOSTILE}", HOSTILE), remarks=(HOSTILE,), **named)
    with tab(browser, path) as opened:
        opened.page.click(FIRST)
        assert opened.complaints == []
        assert opened.page.locator("img").count() == 0
        assert opened.page.locator("a[href^=javascript]").count() == 0
        shown = r"</script><img src=x onerror=alert(1)>\x1b[31m\u202e${1}"
        assert opened.texts("h1") == [shown]
        assert opened.texts(".request .name") == [shown]


def test_bars_have_the_marks_of_the_terminal(browser: Browser, tmp_path: Path) -> None:
    made = (background(), foreground(), failing())
    expected = [sorted(kind for _, kind in marks_of(RequestResult.of(each))) for each in made]
    with tab(browser, saved(tmp_path, *made)) as opened:
        bars = opened.page.locator(".request").all()
        classes = [[str(mark.get_attribute("class")) for mark in bar.locator(".mark").all()] for bar in bars]
        assert [sorted(each.removeprefix("mark ") for each in bar) for bar in classes] == expected
        assert opened.texts(".item.part") == ["trap"]


@pytest.mark.parametrize("width", [1200, 400])
def test_marks_are_on_the_line(browser: Browser, tmp_path: Path, width: int) -> None:
    middles = """() => [...document.querySelectorAll('.bar line:not(.tick), .bar path')].map((drawn) => {
        const place = drawn.getBoundingClientRect(), bar = drawn.closest('.bar').getBoundingClientRect();
        return (place.top + place.bottom) / 2 - (bar.top + bar.bottom) / 2;
    })"""
    made = (background(), foreground(), failing())
    with tab(browser, saved(tmp_path, *made), viewport={"width": width, "height": 800}) as opened:
        found = opened.page.evaluate(middles)
        assert len(found) > 2 * len(made)
        assert found == pytest.approx([0.0] * len(found), abs=0.01)


def test_mark_under_the_pointer_names_time_witness_event(browser: Browser, page: Path) -> None:
    with tab(browser, page) as opened:
        opened.page.hover(f"{FIRST} >> .mark.write")
        assert opened.texts(".tip:visible") == ["502 ms · file\nlog.txt got 'message'"]
        opened.page.hover("h1")
        assert opened.texts(".tip:visible") == []


def test_keyboard_reaches_rows_marks_and_folds(browser: Browser, page: Path) -> None:
    with tab(browser, page) as opened:
        opened.page.focus(FIRST)
        opened.page.keyboard.press("ArrowRight")
        assert opened.texts(".tip:visible") == ["2.0 ms · client\nthe client had the whole response"]
        opened.page.keyboard.press("Escape")
        assert opened.texts(".tip:visible") == []
        opened.page.keyboard.press("ArrowDown")
        opened.page.keyboard.press("Enter")
        opened.until("() => document.querySelectorAll('.request')[1].ariaExpanded === 'true'")
        assert "the client sent the request" in opened.texts(".fold")[0]
        opened.page.keyboard.press("Enter")
        opened.until("() => !document.querySelector('.fold')")


def test_fold_has_the_events_of_its_request(browser: Browser, page: Path) -> None:
    with tab(browser, page) as opened:
        opened.page.click(".request:has-text('mail')")
        opened.page.wait_for_selector(".fold")
        events = opened.texts(".fold tbody tr")
        assert events[0] == "0.0\tclient\tthe client sent the request"
        assert "server\tapp.write_log failed: ValueError: no" in " ".join(events)
        assert "app.write_log failed: ValueError: no" in opened.texts(".fold .note")


def test_page_of_several_scripts_begins_with_its_title(browser: Browser, tmp_path: Path) -> None:
    save_page([*runs(background(), title="One?"), *runs(foreground(), title="Two?")], tmp_path / "page.html")
    with tab(browser, tmp_path / "page.html") as opened:
        assert opened.texts("h1") == ["2 scripts", "One?", "Two?"]
        assert opened.page.locator("h1, h2").first.inner_text() == opened.page.title().partition(" –")[0] == "2 scripts"


def test_fold_has_the_date_and_the_zone_of_its_time(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(received(wall_ns=1_700_000_000_123_456_789) + sent())
    save_journal_page(read_history(tmp_path / "journal.jsonl", last=1), tmp_path / "page.html")
    with tab(browser, tmp_path / "page.html", timezone_id="Asia/Kolkata") as opened:
        opened.page.click(FIRST)
        opened.page.wait_for_selector(".fold")
        assert opened.texts(".fold .about")[0].endswith("at 2023-11-15 03:43:20.123 GMT+0530")


def test_impossible_time_of_a_journal_is_said(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(received(wall_ns=10**25) + sent())
    save_journal_page(read_history(tmp_path / "journal.jsonl", last=1), tmp_path / "page.html")
    with tab(browser, tmp_path / "page.html") as opened:
        opened.page.click(FIRST)
        opened.page.wait_for_selector(".fold")
        assert opened.texts(".fold .about")[0].endswith("at a time that no calendar has")


def test_long_path_leaves_room_for_the_other_columns(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(received(path=f"/{'x' * 3000}") + sent())
    save_journal_page(read_history(tmp_path / "journal.jsonl", last=1), tmp_path / "page.html")
    with tab(browser, tmp_path / "page.html") as opened:
        assert opened.page.evaluate("() => document.querySelector('.scroll').scrollWidth") <= 1200


def test_all_marks_are_on_the_bar_however_many(browser: Browser, tmp_path: Path) -> None:
    places = """() => [...document.querySelectorAll('.mark')].map((mark) => {
        const place = mark.querySelector('.place').getBoundingClientRect(), middle = (place.left + place.right) / 2;
        const bar = mark.closest('.bar').getBoundingClientRect();
        return [middle - bar.left, bar.right - middle];
    }).flat()"""
    made = background()
    for number in range(200):
        task(made, 1_503_000_000, "task_failed", n=1 + number, error="ValueError: no")
    with tab(browser, saved(tmp_path, made)) as opened:
        found = opened.page.evaluate(places)
        assert len(found) == 2 * 202
        assert min(found) >= 0
        assert opened.page.locator(".mark").first.get_attribute("class") == "mark response"
        opened.page.hover(".mark.response")
        assert opened.texts(".tip:visible") == ["2.0 ms · client\nthe client had the whole response"]


def test_rows_are_filtered_by_verdict_and_by_text(browser: Browser, page: Path) -> None:
    with tab(browser, page) as opened:
        opened.page.click(".chip.failed")
        opened.until("() => document.querySelectorAll('.request').length === 1")
        assert opened.texts(".count") == ["1 request of 3"]
        opened.page.click(".chip.failed")
        opened.page.fill(".search", "CONTROL")
        opened.until("() => document.querySelector('.request .name').textContent === 'control'")
        assert opened.texts(".count") == ["1 request of 3"]
        opened.page.fill(".search", "")
        opened.until("() => document.querySelectorAll('.request').length === 3")


def test_zoom_shows_a_part_of_the_time(browser: Browser, page: Path) -> None:
    with tab(browser, page) as opened:
        whole = opened.texts(".axis .label")
        opened.page.click("[aria-label='Zoom in']")
        opened.until("() => !document.querySelector('.pan').disabled")
        assert opened.texts(".axis .label") != whole
        opened.page.fill(".pan", "1000")  # the end of the scale
        first = "document.querySelector('.request')"
        opened.until(f"() => {first}.querySelector('.write') && !{first}.querySelector('.response')")
        opened.page.click("[aria-label='Show all of the time']")
        opened.until("() => document.querySelector('.pan').disabled")
        assert opened.texts(".axis .label") == whole


def test_page_is_dark_where_people_want_that(browser: Browser, page: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with tab(browser, page, color_scheme="dark") as opened:
        dark = opened.page.evaluate(ground)
        opened.page.click("text=Light or dark")
        light = opened.page.evaluate(ground)
    with tab(browser, page, color_scheme="light") as opened:
        assert (light, opened.page.evaluate(ground)) == (light, light) != (dark, dark)
        opened.page.click("text=Light or dark")
        assert opened.page.evaluate(ground) == dark


CONTRASTS = """() => {
    const brush = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const over = (ground, colour) => {
        brush.fillStyle = `rgb(${ground.join(" ")})`;
        brush.fillRect(0, 0, 1, 1);
        brush.fillStyle = colour;
        brush.fillRect(0, 0, 1, 1);
        return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const ground = (element) => !element ? [255, 255, 255]
        : over(ground(element.parentElement), getComputedStyle(element).backgroundColor);
    const light = (colour) => colour.map((part) => part / 255)
        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
    const texts = [...document.querySelectorAll("body *")].filter((element) => element.checkVisibility()
        && [...element.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim()));
    return texts.map((element) => {
        const behind = ground(element), style = getComputedStyle(element);
        const colour = element instanceof SVGElement ? style.fill : style.color;
        const [more, less] = [light(behind), light(over(behind, colour))].sort((a, b) => b - a);
        return [(more + 0.05) / (less + 0.05), `${element.className} ${element.textContent}`];
    });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_texts_have_enough_contrast(browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"]) -> None:
    """WCAG 2.2 wants 4.5:1."""
    made = (background(), foreground(), failing())
    path = saved(tmp_path, *made, warning="slow", about="`code`", links=("https://example.org/",))
    with tab(browser, path, color_scheme=scheme) as opened:
        opened.page.click(FIRST)
        opened.page.click(".chip.failed")
        opened.page.click(".chip.failed")
        opened.page.click(".chip.work-first")
        opened.page.wait_for_selector(".chip.work-first[aria-pressed=true]")
        opened.page.hover(".mark")
        opened.page.wait_for_selector(".tip:visible")
        found = opened.page.evaluate(CONTRASTS)
        assert len(found) > 30
        assert [each for each in found if each[0] < 4.5] == []


def test_own_colours_of_a_user_keep_what_is_said(browser: Browser, page: Path) -> None:
    def colour(selector: str, name: str = "backgroundColor") -> str:
        found: str = opened.page.evaluate(
            "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]", [selector, name]
        )
        return found

    with tab(browser, page, forced_colors="active") as opened:
        opened.page.click(".chip.failed")
        opened.page.wait_for_selector(".chip.failed[aria-pressed=true]")
        assert colour(".chip.failed") != colour(".chip.response-first")
        assert colour(".code.trap", "borderLeftColor") != colour(".code:not(.trap)", "borderLeftColor")
        opened.page.hover(".mark")
        opened.page.wait_for_selector(".tip:visible")
        assert colour(".tip", "borderTopWidth") == "1px"
        assert not opened.page.locator("[data-theme-switch]").is_visible()


def test_page_fits_a_phone(browser: Browser, page: Path) -> None:
    with tab(browser, page, viewport={"width": 400, "height": 800}) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400
        opened.page.click(FIRST)
        opened.page.wait_for_selector(".fold")
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400
        width = opened.page.evaluate("document.querySelector('.request .bar').getBoundingClientRect().width")
        assert width > 300  # below the name, not beside it


def test_finger_on_a_mark_shows_what_it_is(browser: Browser, page: Path) -> None:
    with tab(browser, page, viewport={"width": 400, "height": 800}, has_touch=True) as opened:
        opened.page.locator(".request .mark.response").first.tap()
        opened.page.wait_for_selector(".tip:has-text('the client had the whole response')")
        assert opened.page.locator(".fold").count() == 0
        opened.page.locator(".request .name").first.tap()
        opened.page.wait_for_selector(".fold")


def test_code_has_the_lines_of_trap_and_remedy(browser: Browser, page: Path) -> None:
    with tab(browser, page) as opened:
        assert opened.texts(".code.trap") == ["trap\n2\n    time.sleep(1)"]
        assert opened.texts(".code.remedy .no") == ["5", "6"]
        assert opened.texts("figcaption") == ["shop.py"]


def test_tables_are_there_without_javascript(browser: Browser, page: Path) -> None:
    with tab(browser, page, java_script_enabled=False) as opened:
        assert "need JavaScript" in opened.texts("noscript")[0]
        assert opened.texts("article table >> nth=0 >> tbody tr >> nth=1")[0].startswith("control\tPOST /")
        assert not opened.page.locator("[data-theme-switch]").is_visible()


def test_ten_thousand_requests_are_drawn_in_part(browser: Browser, tmp_path: Path) -> None:
    write_long_journal(tmp_path / "journal.jsonl", 10_000)
    path = tmp_path / "page.html"
    save_journal_page(read_history(tmp_path / "journal.jsonl", last=10_000), path)
    assert path.stat().st_size < 5_000_000
    with tab(browser, path) as opened:
        assert opened.texts(".count") == ["10,000 requests"]
        opened.page.click(".chip.lost")
        opened.until("() => document.querySelector('.count').textContent === '10 requests of 10,000'")
        opened.page.click(".chip.lost")
        opened.until("() => document.querySelector('.count').textContent === '10,000 requests'")
        opened.page.focus(FIRST)
        opened.page.keyboard.press("End")
        opened.until("() => document.activeElement.dataset.key === '9999'")
        assert opened.page.locator(".item").count() < 100
        assert opened.complaints == []


def test_tab_key_passes_any_number_of_rows_in_one_step(browser: Browser, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    write_long_journal(journal, 300)
    save_journal_page(read_history(journal, last=300), tmp_path / "page.html")
    with tab(browser, tmp_path / "page.html") as opened:
        keyboard, in_list = opened.page.keyboard, "() => !!document.activeElement.closest('.list')"
        opened.page.focus(".zoom button:last-of-type")
        keyboard.press("Tab")
        assert opened.page.evaluate(in_list)
        for _ in range(60):  # farther than the window
            keyboard.press("ArrowDown")
        assert opened.page.locator(".request[tabindex='0']").count() == 1
        key = opened.page.evaluate("() => document.activeElement.dataset.key")
        keyboard.press("Tab")
        assert not opened.page.evaluate(in_list)
        keyboard.press("Shift+Tab")
        assert opened.page.evaluate("() => document.activeElement.dataset.key") == key


def test_paper_has_all_rows_and_no_controls(browser: Browser, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    write_long_journal(journal, 300)
    save_journal_page(read_history(journal, last=300), tmp_path / "page.html")
    with tab(browser, tmp_path / "page.html", color_scheme="dark") as opened:
        on_screen = opened.page.locator(".request").count()
        opened.page.emulate_media(media="print")
        opened.page.set_viewport_size({"width": 718, "height": 1000})
        opened.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        assert on_screen < opened.page.locator(".request").count() == 300
        assert not opened.page.locator(".controls").is_visible()
        below = (
            "() => document.querySelector('.scroller').scrollHeight - document.querySelector('.scroller').clientHeight"
        )
        assert opened.page.evaluate(below) <= 1
        rights = "() => [...document.querySelectorAll('.bar *')].map((mark) => mark.getBoundingClientRect().right)"
        assert max(opened.page.evaluate(rights)) <= 718
        assert opened.page.evaluate("() => document.documentElement.scrollWidth") <= 718
        assert opened.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        opened.page.evaluate("() => dispatchEvent(new Event('afterprint'))")
        opened.page.emulate_media(media="screen")
        opened.until("() => document.querySelectorAll('.request').length < 300")


def test_filters_are_in_one_order(browser: Browser, tmp_path: Path) -> None:
    with tab(browser, saved(tmp_path, failing(), foreground(), background())) as opened:
        assert opened.texts(".chip") == ["1 response-first", "1 work-first", "1 failed"]
