"""Makes docs/viewer.png, viewer-dark.png and viewer-phone.png, pictures of the viewer;
viewer.html, a recording; and viewer.gif, what that recording shows.

    python tools/make_screenshots.py

It drives the system's Chromium, through the test group's playwright.
"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from eqprop.apps.viewer import bundled, export, View


DOCS = Path(__file__).parent.parent / "docs"
SLOW = 60_000


def main() -> None:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox"]
        )
        with View(bundled()) as shown:
            for name, scheme, size in (
                ("viewer", "light", (1280, 960)),
                ("viewer-dark", "dark", (1280, 960)),
                ("viewer-phone", "light", (390, 844)),
            ):
                page = open_page(browser, shown.url, scheme, size)
                nudge(page)
                page.screenshot(path=DOCS / f"{name}.png", full_page=size[0] > 400)
        export(bundled(), DOCS / "viewer.html")
        animate(browser, DOCS / "viewer.html", DOCS / "viewer.gif")
        browser.close()


def open_page(browser: Browser, url: str, scheme: str, size: tuple[int, int]) -> Page:
    page = browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,  # pyright: ignore
    )
    page.goto(url)
    page.wait_for_selector("[data-ready=true][data-settled=true]", timeout=SLOW)
    return page


def nudge(page: Page) -> None:
    page.keyboard.press("n")
    page.wait_for_selector("[data-phase=nudged][data-settled=true]", timeout=SLOW)
    if page.viewport_size and page.viewport_size["width"] < 400:
        page.locator(".middle").scroll_into_view_if_needed()


def animate(browser: Browser, page_file: Path, file: Path) -> None:
    """The recording, moment by moment, without its controls."""
    size = {"width": 1120, "height": 860}
    page = browser.new_page(viewport=size)  # pyright: ignore
    page.goto(page_file.absolute().as_uri())
    page.wait_for_selector("[data-ready=true]")
    page.add_style_tag(
        content=".left > :not(.draw), .right > .hint:last-of-type, .bar .theme,"
        ".bar .fps, .notice {display: none !important} .eqprop .columns"
        "{grid-template-columns: 11rem minmax(0, 1fr) 18rem}"
    )
    moment = page.locator("input.moment")
    pictures = []
    for index in range(int(str(moment.get_attribute("max"))) + 1):
        moment.evaluate(
            "(s, v) => { s.value = v; s.dispatchEvent(new Event('input'));"
            "s.dispatchEvent(new Event('change')); }",
            index,
        )
        page.wait_for_selector(f'[data-moment="{index}"]')
        shot = page.screenshot()
        pictures.append(Image.open(io.BytesIO(shot)).convert("RGB"))
    # One set of colors for all: a set of its own for each would flicker.
    sample = Image.new("RGB", (size["width"], 4 * size["height"]))
    for k in range(4):
        some = pictures[(len(pictures) - 1) * k // 3]
        sample.paste(some, (0, k * size["height"]))
    palette = sample.quantize(96)
    frames = [
        picture.quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures
    ]
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=180, loop=0)


if __name__ == "__main__":
    main()
