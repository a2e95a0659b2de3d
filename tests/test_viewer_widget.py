"""The viewer as an anywidget: its thread's frames, and the page's module beside it."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

import eqprop as ep
from eqprop.apps.viewer import decode
from helpers_training import chain, examples
from viewer_process import chromium


PAGE = Path(ep.__file__).parent / "apps" / "viewer" / "page"


class Notebook:
    """A widget whose messages come here instead of going to a notebook."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.frames: list[dict] = []
        data = examples(6)
        self.widget = ep.ViewerWidget(chain(), (data.x, data.y), title="mine")
        monkeypatch.setattr(
            self.widget,
            "send",
            lambda content, buffers: self.frames.append(decode(buffers[0])[0]),
        )

    def say(self, **message) -> None:
        self.widget._receive(self.widget, message, [])

    def wait(self, until: Callable[[dict], bool]) -> dict:
        for _ in range(600):
            for frame in self.frames:
                if until(frame):
                    return frame
            time.sleep(0.1)
        raise AssertionError(f"never came; there are {self.frames}")


def test_a_widget_answers_its_page(monkeypatch: pytest.MonkeyPatch):
    notebook = Notebook(monkeypatch)
    assert notebook.frames == [], "nothing is computed before the page is there"
    notebook.say(type="open")
    hello = notebook.wait(lambda frame: frame["kind"] == "hello")
    assert hello["title"] == "mine"
    notebook.wait(lambda frame: frame["kind"] == "frame")
    # The next picture waits until this one is shown.
    notebook.say(type="pick", index=3, serial=1)
    time.sleep(0.5)
    assert sum(frame["kind"] == "frame" for frame in notebook.frames) == 1
    for _ in range(600):
        notebook.say(type="shown")
        if any(frame.get("answered") == 1 for frame in notebook.frames):
            break
        time.sleep(0.1)
    frame = notebook.wait(lambda frame: frame.get("answered") == 1)
    assert frame["index"] == 3
    notebook.say(type="nonsense")
    error = notebook.wait(lambda frame: frame["kind"] == "error")
    assert "no command" in error["message"]
    player = notebook.widget._player
    assert player is not None
    notebook.widget.close()
    player.join()


def test_the_page_is_the_one_that_is_served(monkeypatch: pytest.MonkeyPatch):
    widget = Notebook(monkeypatch).widget
    assert str(widget._esm) == (PAGE / "viewer.js").read_text("utf-8")
    assert str(widget._css) == (PAGE / "viewer.css").read_text("utf-8")


def test_the_module_renders_as_a_widget(tmp_path: Path):
    # The page's half of a notebook: what anywidget calls, and its model's messages.
    module = (PAGE / "viewer.js").read_text("utf-8")
    style = (PAGE / "viewer.css").read_text("utf-8")
    page_file = tmp_path / "index.html"
    page_file.write_text(
        f"""<!doctype html><style>{style}</style>
        <div id="cell" style="width: 700px"></div>
        <script type="module">
        {module.replace("export default", "const widget =")}
        window.sent = [];
        const model = {{
            on(name, callback) {{ window.receive = callback; }},
            off() {{ window.receive = null; }},
            send(message) {{ window.sent.push(message); }},
        }};
        window.end = widget.render({{ model, el: document.getElementById("cell") }});
        </script>""",
        "utf-8",
    )
    from eqprop.apps.viewer import Subject
    from eqprop.apps.viewer._portrait import introduction, portrait
    from eqprop.apps.viewer._session import Session

    data = examples(6)
    session = Session(Subject(chain(), data.x, data.y))
    with chromium() as browser:
        page = browser.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(page_file.as_uri())
        assert page.evaluate("window.sent[0].type") == "open"
        for frame in (introduction(session), portrait(session)):
            page.evaluate(
                # A view into a larger buffer, as notebooks hand them over.
                """bytes => {
                    const whole = Uint8Array.from([9, 9, 9, ...bytes]);
                    window.receive({}, [new DataView(whole.buffer, 3)]);
                }""",
                list(frame),
            )
        expect(page.locator(".stage")).to_contain_text("step 0")
        assert page.evaluate("window.sent.filter(m => m.type === 'shown').length") == 2
        page.get_by_role("button", name="Nudge", exact=True).click()
        assert page.evaluate("window.sent.at(-1).type") == "nudge"
        page.evaluate("window.end()")
        assert page.evaluate("window.receive") is None
        assert faults == []
        browser.close()
