"""The viewer on a network of the paper's size: pictures a second, and memory."""

import subprocess
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page

from viewer_process import chromium, EQPROP, process_of, serving


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def run(mnist_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("viewer") / "run"
    train = ["train", "mnist", "--energy.sizes", "[784, 500, 10]", "--epochs", "1"]
    place = ["--data-dir", str(mnist_folder), "--out", str(out)]
    subprocess.run([EQPROP, *train, *place], check=True, capture_output=True)
    return out


def keep_moving(page: Page, seconds: float) -> float:
    """Lets free and nudged phases of small steps take turns; pictures a second."""
    page.locator("select.solver").select_option("Euler")
    page.locator("input.number").evaluate(
        "s => { s.value = 0.05; s.dispatchEvent(new Event('input'));"
        "s.dispatchEvent(new Event('change')); }"
    )
    page.locator("input.speed").evaluate(
        "s => { s.value = 1.8; s.dispatchEvent(new Event('input'));"
        "s.dispatchEvent(new Event('change')); }"
    )
    page.wait_for_timeout(2000)
    root = page.locator("#eqprop-viewer")
    pictures = -int(str(root.get_attribute("data-drawn")))
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        for key in ("n", "r"):
            page.keyboard.press(key)
            page.wait_for_timeout(1500)
    pictures += int(str(root.get_attribute("data-drawn")))
    return pictures / (time.monotonic() - start)


def test_25_pictures_a_second(run: Path, mnist_folder: Path, record_property):
    with (
        chromium() as browser,
        serving(str(run), "--data-dir", str(mnist_folder)) as url,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.wait_for_selector("[data-ready=true]")
        rate = keep_moving(page, 20)
        record_property("pictures_a_second", rate)
        assert rate >= 25


def test_memory_is_flat_over_ten_minutes(
    run: Path, mnist_folder: Path, record_property
):
    with (
        chromium() as browser,
        serving(str(run), "--data-dir", str(mnist_folder)) as url,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        page.wait_for_selector("[data-ready=true]")
        keep_moving(page, 60)
        server = [resident(url)]
        for _ in range(9):
            keep_moving(page, 60)
            server.append(resident(url))
        record_property("megabytes", server)
        # Less than a fiftieth more after nine minutes of work.
        assert server[-1] <= 1.02 * server[0]


def resident(url: str) -> float:
    """What the server's process keeps in memory, in MB: the least of twenty looks,
    since while a picture is made it holds some more."""
    looks = []
    for _ in range(20):
        status = Path(f"/proc/{process_of(url)}/status").read_text()
        line = next(row for row in status.splitlines() if row.startswith("VmRSS"))
        looks.append(int(line.split()[1]) / 1024)
        time.sleep(0.1)
    return min(looks)
