"""The viewer in a real browser: drawn on, nudged, taught, and all by keyboard."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, Locator, Page, TimeoutError

from viewer_process import chromium, EQPROP, serving, Watch


SLOW = 60_000  # ms; machines that run tests beside others are slow


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def url():
    with serving() as url:
        yield url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    yield from watched(browser, url, {"width": 1280, "height": 900})


@pytest.fixture
def phone(browser: Browser, url: str) -> Iterator[Page]:
    yield from watched(browser, url, {"width": 360, "height": 740}, has_touch=True)


def watched(browser: Browser, url: str, size: dict, **more) -> Iterator[Page]:
    context = browser.new_context(viewport=size, **more)  # pyright: ignore
    page = context.new_page()
    watch = Watch(page, url)
    page.goto(url)
    settled(page)
    yield page
    assert watch.faults == []
    context.close()


def root(page: Page) -> Locator:
    return page.locator("#eqprop-viewer")


def reach(page: Page, **state: str) -> None:
    """Waits until the page tells of a state."""
    marks = "".join(f'[data-{name}="{value}"]' for name, value in state.items())
    try:
        page.wait_for_selector(f"#eqprop-viewer{marks}", timeout=SLOW)
    except TimeoutError as error:
        told = root(page).evaluate("e => JSON.stringify(e.dataset)")
        shown = root(page).inner_text()[:400]
        raise AssertionError(f"{marks} never came: {told} {shown}") from error


def settled(page: Page, phase: str = "free") -> None:
    reach(page, ready="true", phase=phase, settled="true", converged="true")


def told(page: Page, name: str) -> str:
    value = root(page).get_attribute(f"data-{name}")
    assert value is not None
    return value


def ink(page: Page, selector: str) -> list[int]:
    """A canvas's pixels, read from a copy: reading itself would slow the canvas."""
    return page.eval_on_selector(
        selector,
        """canvas => {
            const copy = new OffscreenCanvas(canvas.width, canvas.height);
            const context = copy.getContext('2d', { willReadFrequently: true });
            context.drawImage(canvas, 0, 0);
            return Array.from(
                context.getImageData(0, 0, copy.width, copy.height).data);
        }""",
    )


def test_a_nudge_lowers_the_cost_and_shows_what_it_changes(page: Page):
    free = float(told(page, "cost"))
    assert page.locator(".layer .difference:visible").count() == 0
    page.get_by_role("button", name="Nudge", exact=True).click()
    settled(page, "nudged")
    assert float(told(page, "cost")) < free
    assert page.locator(".layer .difference:visible").count() == 2
    for k in range(2):
        changed = page.locator(f'[data-layer="{k}"]').get_attribute("data-change")
        assert float(str(changed)) > 0
    cosines = page.locator(".cosines .value").all_inner_texts()
    assert len(cosines) == 4
    assert all(float(text.split()[1]) > 0.9 for text in cosines)
    # The map of the update is drawn: not of one color.
    assert len(set(ink(page, ".update"))) > 10
    page.get_by_role("button", name="Back to free").click()
    settled(page)
    assert float(told(page, "cost")) == pytest.approx(free, abs=1e-4)


def test_a_negative_nudge_raises_the_cost(page: Page):
    free = float(told(page, "cost"))
    slider = page.locator("input.beta")
    slider.evaluate(
        "s => { s.value = -0.3; s.dispatchEvent(new Event('input'));"
        "s.dispatchEvent(new Event('change')); }"
    )
    page.get_by_role("button", name="Nudge", exact=True).click()
    settled(page, "nudged")
    assert float(told(page, "cost")) > free
    expect(page.locator(".beta-value")).to_have_text("−0.3")


def test_updates_are_applied_and_undone_bit_by_bit(page: Page):
    weights, cost = told(page, "weights"), float(told(page, "cost"))
    page.get_by_role("button", name="Apply ×10").click()
    expect(page.locator(".updates")).to_have_text("10", timeout=SLOW)
    settled(page)
    assert told(page, "weights") != weights
    assert float(told(page, "cost")) < cost
    expect(page.locator(".notice")).to_contain_text("Applied 10")
    for left in range(9, -1, -1):
        page.get_by_role("button", name="Undo").click()
        expect(page.locator(".updates")).to_have_text(str(left), timeout=SLOW)
    settled(page)
    assert told(page, "weights") == weights
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


def test_a_digit_is_drawn_and_the_network_follows(page: Page):
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".index")).to_have_value("", timeout=SLOW)
    settled(page)
    blank = ink(page, ".draw")
    outputs = ink(page, ".output .state")
    box = page.locator(".draw").bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(middle, box["y"] + 0.9 * box["height"], steps=8)
    page.mouse.up()
    reach(page, late="false", settled="true")
    assert ink(page, ".draw") != blank
    assert ink(page, ".output .state") != outputs
    page.keyboard.down("Shift")
    page.mouse.move(middle, box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(middle, box["y"] + 0.9 * box["height"], steps=8)
    page.mouse.up()
    page.keyboard.up("Shift")
    reach(page, late="false", settled="true")
    assert ink(page, ".draw") == blank


def test_everything_by_keyboard(page: Page):
    shown, weights = page.locator(".index").input_value(), told(page, "weights")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".index")).to_have_value(str(int(shown) + 1), timeout=SLOW)
    settled(page)
    page.keyboard.press("3")
    expect(page.locator(".classes button").nth(3)).to_have_attribute(
        "aria-pressed", "true", timeout=SLOW
    )
    page.keyboard.press("n")
    settled(page, "nudged")
    page.keyboard.press("f")
    settled(page)
    page.keyboard.press("a")
    expect(page.locator(".updates")).to_have_text("1", timeout=SLOW)
    page.keyboard.press("u")
    expect(page.locator(".updates")).to_have_text("0", timeout=SLOW)
    assert told(page, "weights") == weights
    page.keyboard.press("Space")  # pause
    page.keyboard.press("r")
    reach(page, step="0")
    page.keyboard.press(".")
    reach(page, step="1")
    page.keyboard.press("Space")
    settled(page)


def test_the_drawing_is_inked_by_keyboard_too(page: Page):
    page.locator(".draw").focus()
    before = ink(page, ".draw")
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    reach(page, late="false", settled="true")
    expect(page.locator(".index")).to_have_value("")
    assert ink(page, ".draw") != before


def test_every_control_is_reached_by_tab_and_has_a_name(page: Page):
    names = page.eval_on_selector_all(
        "button, input, select, summary, canvas",
        """elements => elements.filter(e => e.offsetParent).map(e =>
            e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText ||
            e.closest('figure')?.querySelector('figcaption')?.innerText || '')""",
    )
    assert len(names) > 30
    assert all(name.strip() for name in names), names
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.className.split(' ')[0]"))
    wanted = "draw clear index run step reset speed solver number nudging beta nudge"
    assert set(wanted.split()) | {"apply", "apply-ten", "theme"} <= seen


def test_solver_and_estimator_are_chosen(page: Page):
    for solver in ("Euler", "FixedPoint", "AdaptiveEuler", "BlockCoordinate"):
        page.locator("select.solver").select_option(solver)
        page.get_by_role("button", name="From rest").click()
        settled(page)
        expect(page.locator("select.solver")).to_have_value(solver)
    for estimator in ("OneSided", "Coupled", "Clamped"):
        page.locator("select.nudging").select_option(estimator)
        page.get_by_role("button", name="Nudge", exact=True).click()
        settled(page, "nudged")
        expect(page.locator(".stage")).to_contain_text(estimator)


def test_a_narrow_screen_holds_it_all(phone: Page):
    sizes = phone.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert sizes[0] == sizes[1], "the page is wider than the screen"
    for selector in ("button", "select", "input"):
        small = phone.eval_on_selector_all(
            selector,
            "all => all.filter(e => e.offsetParent && e.offsetHeight < 30)"
            ".map(e => e.className)",
        )
        assert small == [], "too small for a thumb"
    phone.get_by_role("button", name="Nudge", exact=True).tap()
    settled(phone, "nudged")
    sizes = phone.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert sizes[0] == sizes[1]


def test_light_and_dark_can_be_read(browser: Browser, url: str):
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(url)
        settled(page)
        pairs = page.eval_on_selector_all(
            "h2, .hint, label, button:enabled, .pill",
            """elements => elements.filter(e => e.offsetParent).map(e => {
                let back = e;
                while (getComputedStyle(back).backgroundColor === 'rgba(0, 0, 0, 0)')
                    back = back.parentElement;
                return [getComputedStyle(e).color,
                        getComputedStyle(back).backgroundColor];
            })""",
        )
        for ends in pairs:
            assert contrast(*ends) >= 4.5, (scheme, ends)
        context.close()


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colors; text should have 4.5."""

    def luminance(color: str) -> float:
        parts = [int(n) / 255 for n in re.findall(r"\d+", color)[:3]]
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_without_motion_pictures_go_from_equilibrium_to_equilibrium(
    browser: Browser, url: str
):
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(url)
    settled(page)
    drawn = int(told(page, "drawn"))
    page.keyboard.press("r")
    page.wait_for_timeout(500)
    settled(page)
    # From rest over twelve sweeps: at rest, settled, and what fell between.
    assert int(told(page, "drawn")) - drawn <= 5
    context.close()


def test_the_page_says_when_its_program_has_ended(browser: Browser):
    with serving() as url:
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        settled(page)
    expect(page.locator(".notice")).to_contain_text("has ended", timeout=SLOW)
    context.close()


def test_an_exported_page_replays_from_a_file(browser: Browser, tmp_path: Path):
    file = tmp_path / "trace.html"
    subprocess.run([EQPROP, "view", "--export", file], check=True, capture_output=True)
    text = file.read_text("utf-8")
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    watch = Watch(page, file.as_uri())
    page.goto(file.as_uri())
    reach(page, ready="true", phase="free")
    # Nothing that would need the network is offered.
    expect(page.get_by_role("button", name="Apply ×10")).to_be_hidden()
    moment = page.locator("input.moment")
    last = int(str(moment.get_attribute("max")))
    seen = set()
    costs = {}
    for index in range(last + 1):
        moment.evaluate(
            "(s, v) => { s.value = v; s.dispatchEvent(new Event('input'));"
            "s.dispatchEvent(new Event('change')); }",
            index,
        )
        reach(page, moment=str(index))
        now = told(page, "phase"), told(page, "weights")
        seen.add(now)
        costs[now] = float(told(page, "cost"))
    # Free and nudged, before and after the updates; each nudge lowers the cost, and
    # the updates lower that of the free phase.
    assert len(seen) == 4
    (old, new) = dict.fromkeys(weights for _, weights in costs)
    assert costs["nudged", old] < costs["free", old]
    assert costs["nudged", new] < costs["free", new] < costs["free", old]
    page.get_by_role("button", name="Run").click()
    page.wait_for_selector(f'#eqprop-viewer:not([data-moment="{last}"])', timeout=SLOW)
    reach(page, moment=str(last))
    assert watch.faults == []
    context.close()
