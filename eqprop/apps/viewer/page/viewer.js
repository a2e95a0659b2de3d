// The page that shows a network relax. One module for three places: served by `eqprop
// view` (frames over a WebSocket), replaying a recording in an exported file, and as an
// anywidget in a notebook. It builds its own elements, asks no other host for anything,
// and knows of the network only what frames tell.

const TEMPLATE = `
<header class="bar">
  <h1 class="title">eqprop</h1>
  <p class="phase" aria-live="polite"><span class="pill">loading</span> <span class="stage"></span></p>
  <span class="fps" title="pictures a second"></span>
  <button class="theme" type="button" aria-label="Switch between light and dark">◐</button>
</header>
<p class="notice" role="status"></p>
<ul class="warnings" role="alert"></ul>
<div class="columns">
  <section class="left" aria-label="Input and target">
    <h2>Input</h2>
    <canvas class="draw" width="256" height="256" tabindex="0" role="application"></canvas>
    <p class="hint drawing">Draw here, or with the arrow keys and Enter. Shift erases.</p>
    <div class="row live">
      <button class="clear" type="button">Clear</button>
      <button class="previous" type="button" aria-label="Previous example">‹</button>
      <label class="grow"><span class="hidden">Example number</span><input class="index" type="number" min="0" inputmode="numeric"></label>
      <button class="next" type="button" aria-label="Next example">›</button>
    </div>
    <fieldset class="target live"><legend>Target: nudge the outputs toward</legend><div class="classes"></div></fieldset>
    <h2>Relax</h2>
    <div class="row">
      <button class="run primary" type="button" aria-keyshortcuts="Space">Pause</button>
      <button class="step" type="button" aria-keyshortcuts=".">Step</button>
      <button class="reset live" type="button" aria-keyshortcuts="r">From rest</button>
    </div>
    <label class="scrub replay">Moment<input class="moment" type="range" min="0" value="0" step="1"></label>
    <label>Speed <span class="value speed-value"></span><input class="speed" type="range" min="0" max="3" step="0.05" value="0.8"></label>
    <label class="live">Solver<select class="solver"></select></label>
    <label class="live"><span class="number-label"></span> <span class="value number-value"></span><input class="number" type="range" step="0.01"></label>
  </section>
  <section class="middle" aria-label="The network">
    <h2>Layers <span class="hint difference-hint"></span></h2>
    <div class="layers"></div>
    <h2>Along the relaxation</h2>
    <div class="charts">
      <figure><figcaption>energy F <output class="energy"></output></figcaption><canvas class="chart" data-row="0"></canvas></figure>
      <figure><figcaption>cost C <output class="cost"></output></figcaption><canvas class="chart" data-row="1"></canvas></figure>
      <figure><figcaption>residual, log scale <output class="residual"></output></figcaption><canvas class="chart" data-row="2"></canvas></figure>
    </div>
    <p class="hint">Steps from left to right; hatched: nudged phases; dashed: the residual up to which a state is certified.</p>
  </section>
  <section class="right" aria-label="Nudge and learn">
    <h2 class="live">Nudge</h2>
    <label class="live">Estimator<select class="nudging"></select></label>
    <label class="live">β <span class="value beta-value"></span><input class="beta" type="range" min="-1" max="1" step="0.01"></label>
    <div class="row live">
      <button class="nudge primary" type="button" aria-keyshortcuts="n">Nudge</button>
      <button class="free" type="button" aria-keyshortcuts="f">Back to free</button>
    </div>
    <h2>Learn</h2>
    <label>Update ΔW of<select class="watched"></select></label>
    <canvas class="update" width="8" height="8" role="img" aria-label="Update of the weights"></canvas>
    <p class="hint update-hint">Nudge to see how the weights would change.</p>
    <table class="cosines"><caption>Against the exact gradient</caption><tbody></tbody></table>
    <label class="live">Learning rate <span class="value rate-value"></span><input class="rate" type="range" min="-3" max="0.5" step="0.05"></label>
    <div class="row live">
      <button class="apply primary" type="button" aria-keyshortcuts="a">Apply</button>
      <button class="apply-ten" type="button" aria-keyshortcuts="t">Apply ×10</button>
      <button class="undo" type="button" aria-keyshortcuts="u">Undo</button>
    </div>
    <p class="hint">Updates applied: <output class="updates">0</output> · weights <output class="weights"></output></p>
    <details class="live"><summary>Keys</summary><p class="hint">Space run or pause · . step · r from rest · ← → example · 0–9 target · n nudge · f back to free · a apply · t apply ten times · u undo</p></details>
  </section>
</div>`;

// Frames: see `eqprop/apps/viewer/_frame.py`.
export function decode(buffer) {
  const view = new DataView(buffer);
  const length = view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const { name, type, shape, offset } of header.arrays) {
    const Kind = type === "int8" ? Int8Array : Float32Array;
    const count = shape.reduce((a, b) => a * b, 1);
    arrays[name] = { shape, data: new Kind(buffer, 4 + length + offset, count) };
  }
  return { header, arrays };
}

export function mount(root, transport) {
  root.classList.add("eqprop");
  root.innerHTML = TEMPLATE;
  const page = new Page(root, transport);
  transport.open((buffer) => page.receive(buffer), (text) => page.fail(text));
  return () => { page.close(); transport.close(); };
}

// For anywidget.
export default { render({ model, el }) { return mount(el, new NotebookTransport(model)); } };

class SocketTransport {
  constructor(url) { this.url = url; }
  open(onFrame, onFail) {
    this.socket = new WebSocket(this.url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = (event) => onFrame(event.data);
    this.socket.onclose = (event) => onFail(event.reason || "The program that showed this network has ended. Start `eqprop view` again, and open the address that it prints.");
  }
  send(message) { if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message)); }
  close() { this.socket.onclose = null; this.socket.close(); }
}

class NotebookTransport {
  constructor(model) { this.model = model; }
  open(onFrame) {
    this.listener = (_, buffers) => {
      const view = buffers[0];
      onFrame(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
      this.send({ type: "shown" });
    };
    this.model.on("msg:custom", this.listener);
    this.send({ type: "open" });
  }
  send(message) { this.model.send(message); }
  close() { this.model.off("msg:custom", this.listener); }
}

// A recording is a run of frames, each behind its length; gzipped, in base64.
class Recording {
  constructor(text) { this.text = text; this.replays = true; this.speed = 20; this.running = true; this.moment = 0; }
  async open(onFrame, onFail) {
    try {
      const packed = Uint8Array.from(atob(this.text.trim()), (c) => c.charCodeAt(0));
      const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
      const bytes = await new Response(stream).arrayBuffer();
      const frames = [];
      for (let at = 0; at < bytes.byteLength;) {
        const length = new DataView(bytes).getUint32(at, true);
        frames.push(bytes.slice(at + 4, at + 4 + length));
        at += 4 + length;
      }
      this.frames = frames.slice(1);
      this.show = onFrame;
      onFrame(frames[0]);
      this.seek(0);
      this.tick(performance.now(), 0);
    } catch (error) { onFail(`This recording can't be read: ${error.message}`); }
  }
  tick(last, owed) {
    this.timer = requestAnimationFrame((now) => {
      owed = this.running ? owed + Math.min(now - last, 100) * this.speed / 1000 : 0;
      const steps = Math.floor(owed);
      if (steps && this.moment < this.frames.length - 1) this.seek(this.moment + steps);
      this.tick(now, owed - steps);
    });
  }
  seek(moment) {
    this.moment = Math.max(0, Math.min(this.frames.length - 1, moment));
    this.show(this.frames[this.moment]);
  }
  send(message) {
    const atEnd = this.moment >= this.frames.length - 1;
    if (message.type === "run") { this.running = true; if (atEnd) this.seek(0); }
    else if (message.type === "pause") this.running = false;
    else if (message.type === "speed") this.speed = message.steps;
    else if (message.type === "step") { this.running = false; this.seek(this.moment + 1); }
    else if (message.type === "moment") { this.running = false; this.seek(message.index); }
  }
  close() { cancelAnimationFrame(this.timer); }
}

class Page {
  constructor(root, transport) {
    this.root = root;
    this.transport = transport;
    this.running = true;
    this.drawn = [];
    this.editing = new Set();
    this.cursor = null;
    this.serial = this.asked = 0;
    root.classList.toggle("replaying", Boolean(transport.replays));
    this.connect();
    this.observer = new ResizeObserver(() => this.schedule());
    this.observer.observe(root);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.restyle = () => { this.colors = null; this.schedule(); };
    this.dark.addEventListener("change", this.restyle);
  }

  $(selector) { return this.root.querySelector(selector); }

  close() {
    this.observer.disconnect();
    this.dark.removeEventListener("change", this.restyle);
    document.removeEventListener("keydown", this.keys);
  }

  send(message) {
    this.root.dataset.late = true;
    this.transport.send({ ...message, serial: ++this.serial });
  }

  // Frames.

  receive(buffer) {
    const frame = decode(buffer);
    const { header } = frame;
    if (header.kind === "hello") this.introduce(header);
    else if (header.kind === "error") this.$(".notice").textContent = header.message;
    else { this.frame = frame; this.schedule(); }
  }

  fail(text) {
    this.root.classList.add("ended");
    this.$(".pill").textContent = "ended";
    this.$(".notice").textContent = text;
  }

  introduce(hello) {
    this.hello = hello;
    this.$(".title").textContent = hello.title;
    options(this.$(".solver"), Object.keys(hello.solvers));
    options(this.$(".nudging"), hello.nudgings);
    options(this.$(".watched"), hello.parameters);
    this.$(".index").max = hello.examples - 1;
    this.root.classList.toggle("undrawable", !hello.picture);
    this.$(".target").hidden = !hello.classes;
    const draw = this.$(".draw");
    draw.setAttribute("aria-label", hello.picture ? `Input, ${hello.picture.join(" by ")} pixels. Arrow keys move, Enter inks, Shift and Enter erases.` : "Input");
    this.$(".classes").replaceChildren(...range(hello.classes ?? 0).map((k) => {
      const button = element("button", { type: "button", textContent: k, ariaPressed: "false" });
      button.addEventListener("click", () => this.send({ type: "aim", class: k }));
      return button;
    }));
    this.$(".layers").replaceChildren(...hello.layers.map((layer, k) => this.card(layer, k)));
    this.$(".cosines tbody").replaceChildren(...hello.parameters.map((name) => {
      const row = element("tr", {});
      row.append(element("th", { scope: "row", textContent: name }), element("td", { className: "meter" }), element("td", { className: "value", textContent: "–" }));
      row.children[1].append(element("span", {}));
      return row;
    }));
    if (this.transport.replays) this.$(".moment").max = this.transport.frames.length - 1;
    // Without motion the pictures go from equilibrium to equilibrium.
    if (matchMedia("(prefers-reduced-motion: reduce)").matches && !this.transport.replays) {
      this.$(".speed").value = 3;
    }
    this.sendSpeed();
    this.root.dataset.ready = "true";
  }

  card(layer, k) {
    const card = element("figure", { className: layer.output ? "layer output" : "layer" });
    card.dataset.layer = k;
    const caption = element("figcaption", {});
    caption.append(element("strong", { textContent: layer.name }), ` ${layer.shape.join(" × ") || 1} ${layer.unit} `, element("span", { className: "share" }));
    const pictures = element("div", { className: "pictures" });
    for (const kind of ["state", "difference"]) {
      const canvas = element("canvas", { className: kind, width: 8, height: 8 });
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${kind === "state" ? "State" : "Change by the nudge"} of ${layer.name}`);
      canvas.addEventListener("pointermove", (event) => this.point(event, k, canvas));
      canvas.addEventListener("pointerleave", () => { this.$(`[data-layer="${k}"] .under`).textContent = ""; });
      pictures.append(canvas);
    }
    card.append(caption, pictures, element("p", { className: "hint under" }));
    return card;
  }

  point(event, k, canvas) {
    const state = this.frame?.arrays[`state/${k}`];
    if (!state || !canvas.cells) return;
    const unit = canvas.cells(event.offsetX / canvas.clientWidth, event.offsetY / canvas.clientHeight);
    if (unit === null || unit >= state.data.length) return;
    const change = this.frame.arrays[`difference/${k}`];
    const moved = change ? `, by the nudge ${signed(change.data[unit])}` : "";
    this.$(`[data-layer="${k}"] .under`).textContent = `unit ${unit}: ${short(state.data[unit])}${moved}`;
  }

  // Pictures. Frames may come faster than the screen shows them: the latest is drawn.

  schedule() {
    if (this.pending || !this.frame) return;
    this.pending = requestAnimationFrame((now) => { this.pending = null; this.draw(now); });
  }

  draw(now) {
    const { header, arrays } = this.frame;
    this.colors ??= palette(this.root);
    this.drawn = [...this.drawn.filter((then) => now - then < 1000), now];
    this.root.dataset.drawn = Number(this.root.dataset.drawn ?? 0) + 1;
    this.$(".fps").textContent = header.settled ? "" : `${this.drawn.length} fps`;
    this.drawInput(arrays);
    this.drawLayers(header, arrays);
    this.drawCharts(header, arrays);
    this.drawUpdate(header, arrays);
    this.tell(header, arrays);
  }

  drawInput(arrays) {
    const canvas = this.$(".draw");
    const inputs = Object.keys(arrays).filter((name) => name.startsWith("input/"));
    const input = arrays[inputs[0]];
    // Until the network has seen the latest drawing, the page knows better.
    const late = this.frame.header.answered < this.asked;
    if (!late && inputs.length === 1) this.pixels = Float32Array.from(input.data, (v) => 255 * v);
    const shape = this.hello.picture ?? input.shape;
    const data = late ? this.pixels.map((v) => v / 255) : input.data;
    paint(canvas, tiles(shape), data, this.colors, 1);
    if (this.cursor && document.activeElement === canvas) {
      const [rows, columns] = this.hello.picture;
      const context = canvas.getContext("2d");
      context.strokeStyle = this.colors.accent;
      context.lineWidth = 2;
      const [w, h] = [canvas.width / columns, canvas.height / rows];
      context.strokeRect(this.cursor[1] * w, this.cursor[0] * h, w, h);
    }
  }

  drawLayers(header, arrays) {
    this.root.classList.toggle("nudged", header.phase === "nudged");
    this.hello.layers.forEach((layer, k) => {
      const card = this.$(`[data-layer="${k}"]`);
      const state = arrays[`state/${k}`];
      const change = arrays[`difference/${k}`];
      const canvas = card.querySelector(".state");
      const difference = card.querySelector(".difference");
      difference.hidden = !change;
      if (layer.output && state.data.length <= 64) {
        card.classList.add("as-bars");
        const marks = { target: arrays.target.data.length === state.data.length ? arrays.target.data : null };
        if (change) marks.free = state.data.map((v, j) => v - change.data[j]);
        bars(canvas, state.data, this.colors, marks);
        if (change) bars(difference, change.data, this.colors, { scale: largest(change.data) });
      } else {
        const both = state.data.some((v) => v < 0);
        paint(canvas, tiles(layer.shape), state.data, this.colors, both ? largest(state.data) : Math.max(1, largest(state.data)), both);
        if (change) paint(difference, tiles(layer.shape), change.data, this.colors, largest(change.data), true);
      }
      const share = card.querySelector(".share");
      share.textContent = `· ${Math.round(100 * header.saturated[k])} % saturated`;
      const top = change ? largest(change.data) : null;
      card.querySelector(".difference").title = change ? `largest change ${short(top)}` : "";
      card.dataset.change = change ? short(top) : "";
    });
    this.$(".difference-hint").textContent = header.phase === "nudged" ? "state, and what the nudge has changed (each scaled to its largest)" : "";
  }

  drawCharts(header, arrays) {
    const [, n] = arrays.curves.shape;
    for (const canvas of this.root.querySelectorAll(".chart")) {
      const row = Number(canvas.dataset.row);
      chart(canvas, arrays.curves.data.subarray(row * n, (row + 1) * n), header.spans, this.colors, row === 2 ? this.hello.certify : null);
    }
  }

  drawUpdate(header, arrays) {
    const canvas = this.$(".update");
    const change = arrays.update;
    canvas.hidden = !change;
    this.$(".update-hint").textContent = change ? `${header.map}; largest ${short(header.map_scale)}` : "Nudge to see how the weights would change.";
    if (change) paint(canvas, tiles(change.shape), change.data, this.colors, 127, true);
    this.hello.parameters.forEach((name, k) => {
      const row = this.$(".cosines tbody").children[k];
      const cosine = header.cosines?.[name];
      const known = cosine !== undefined && cosine !== null;
      row.children[2].textContent = known ? `cosine ${cosine.toFixed(4)}` : "–";
      row.querySelector("span").style.width = `${known ? 100 * Math.max(0, cosine) : 0}%`;
    });
  }

  tell(header, arrays) {
    const nudged = header.phase === "nudged";
    const [nudging, beta] = header.nudging;
    this.$(".pill").textContent = nudged ? "nudged phase" : "free phase";
    const where = header.settled ? (header.converged ? "at equilibrium" : "no equilibrium") : "relaxing";
    const nudge = nudged ? ` · ${nudging}${nudging === "Clamped" ? "" : `, β ${signed(beta)}`}` : "";
    this.$(".stage").textContent = `step ${header.step}, ${where}${nudge}`;
    Object.assign(this.root.dataset, { phase: header.phase, settled: header.settled, converged: header.converged, late: header.answered < this.serial, weights: header.weights, step: header.step, cost: header.cost });
    this.$(".energy").textContent = short(header.energy);
    this.$(".cost").textContent = short(header.cost);
    this.$(".residual").textContent = header.residual === null ? "not finite" : header.residual.toExponential(1);
    if (header.notice !== this.told) this.$(".notice").textContent = this.told = header.notice;
    const warnings = header.warnings.join("\n");
    if (warnings !== this.warned) {
      this.$(".warnings").replaceChildren(...header.warnings.map((text) => element("li", { textContent: text })));
      this.warned = warnings;
    }
    const label = argmax(arrays.target.data);
    [...this.$(".classes").children].forEach((button, k) => { button.ariaPressed = String(k === label); });
    this.set(".solver", header.solver[0]);
    const choice = this.hello.solvers[header.solver[0]];
    Object.assign(this.$(".number"), { min: choice.low, max: choice.high });
    this.$(".number-label").textContent = choice.label;
    this.set(".number", header.solver[1]);
    this.$(".number-value").textContent = short(header.solver[1]);
    this.set(".nudging", nudging);
    this.set(".beta", beta);
    this.$(".beta-value").textContent = nudging === "Clamped" ? "→ ∞" : signed(beta);
    this.set(".rate", Math.log10(header.rate));
    this.$(".rate-value").textContent = short(header.rate);
    this.set(".index", header.index ?? "");
    this.set(".watched", header.watched);
    this.$(".updates").textContent = header.updates;
    this.$(".weights").textContent = header.weights;
    this.$(".undo").disabled = header.updates === 0;
    this.$(".free").disabled = !nudged;
    if (this.transport.replays) this.set(".moment", this.root.dataset.moment = this.transport.moment);
    this.$(".run").textContent = this.running ? "Pause" : "Run";
  }

  // A control that the user holds keeps the user's value.
  set(selector, value) {
    const control = this.$(selector);
    if (!this.editing.has(control) && control.value !== String(value)) control.value = value;
  }

  // Controls.

  connect() {
    const on = (selector, event, action) => this.$(selector).addEventListener(event, action);
    const click = (selector, message) => on(selector, "click", () => this.send(message));
    click(".reset", { type: "reset" });
    click(".free", { type: "free" });
    click(".nudge", { type: "nudge" });
    click(".apply", { type: "apply", times: 1 });
    click(".apply-ten", { type: "apply", times: 10 });
    click(".undo", { type: "undo" });
    on(".step", "click", () => { this.run(false); this.send({ type: "step" }); });
    on(".run", "click", () => this.run(!this.running));
    on(".clear", "click", () => { this.pixels?.fill(0); this.sendDrawing(); });
    on(".previous", "click", () => this.turn(-1));
    on(".next", "click", () => this.turn(+1));
    on(".theme", "click", () => this.switchTheme());
    on(".index", "change", (event) => this.send({ type: "pick", index: Number(event.target.value) }));
    on(".watched", "change", (event) => this.send({ type: "watch", parameter: event.target.value }));
    on(".solver", "change", (event) => {
      const name = event.target.value;
      this.send({ type: "solver", name, number: this.hello.solvers[name].start });
    });
    on(".nudging", "change", () => this.sendNudging());
    this.slide(".number", (value) => this.send({ type: "solver", name: this.$(".solver").value, number: value }));
    this.slide(".beta", () => this.sendNudging());
    this.slide(".rate", (value) => this.send({ type: "rate", rate: 10 ** value }));
    this.slide(".speed", () => this.sendSpeed());
    this.slide(".moment", (value) => { this.run(false); this.send({ type: "moment", index: value }); });
    this.connectDrawing();
    this.keys = (event) => this.key(event);
    document.addEventListener("keydown", this.keys);
  }

  slide(selector, action) {
    const control = this.$(selector);
    control.addEventListener("input", () => { this.editing.add(control); action(Number(control.value)); });
    control.addEventListener("change", () => this.editing.delete(control));
  }

  run(running) {
    this.running = running;
    this.$(".run").textContent = running ? "Pause" : "Run";
    this.send({ type: running ? "run" : "pause" });
  }

  turn(by) {
    const last = this.frame?.header.index ?? (by > 0 ? -1 : 0);
    const count = this.hello.examples;
    this.send({ type: "pick", index: (last + by + count) % count });
  }

  sendSpeed() {
    const steps = Math.round(10 ** Number(this.$(".speed").value));
    this.$(".speed-value").textContent = `${steps} steps/s`;
    this.send({ type: "speed", steps });
  }

  sendNudging() {
    // β = 0 nudges nothing: the slider passes over it.
    const beta = Number(this.$(".beta").value) || 0.01;
    this.send({ type: "nudging", name: this.$(".nudging").value, beta });
  }

  switchTheme() {
    const now = this.root.dataset.theme ?? (this.dark.matches ? "dark" : "light");
    this.root.dataset.theme = now === "dark" ? "light" : "dark";
    if (document.body.classList.contains("eqprop-page")) document.body.dataset.theme = this.root.dataset.theme;
    this.restyle();
  }

  key(event) {
    const own = this.root.contains(event.target) || event.target === document.body;
    if (!own || event.ctrlKey || event.metaKey || event.altKey || !this.hello) return;
    const control = event.target.closest?.("input, select, textarea, .draw, summary");
    const arrow = event.key.startsWith("Arrow");
    if (control && (event.target.matches(".draw, select, [type=number]") || arrow || event.key === " ")) return;
    if (event.key === " " && event.target.closest?.("button")) return;
    const press = { " ": ".run", ".": ".step", r: ".reset", n: ".nudge", f: ".free", a: ".apply", t: ".apply-ten", u: ".undo", ArrowLeft: ".previous", ArrowRight: ".next" }[event.key];
    if (press) this.$(press).click();
    else if (/^[0-9]$/.test(event.key)) this.$(".classes").children[Number(event.key)]?.click();
    else return;
    event.preventDefault();
  }

  // Drawing.

  connectDrawing() {
    const canvas = this.$(".draw");
    const ink = (event) => {
      if (!this.hello?.picture || this.transport.replays) return;
      const [rows, columns] = this.hello.picture;
      const at = [event.offsetY / canvas.clientHeight * rows, event.offsetX / canvas.clientWidth * columns];
      this.brush(this.stroke ?? at, at, event.shiftKey || event.buttons === 2);
      this.stroke = at;
      this.sendDrawing();
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); ink(event); });
    canvas.addEventListener("pointermove", (event) => { if (this.stroke) ink(event); });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { this.stroke = null; });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.inkByKey(event));
    canvas.addEventListener("focus", () => this.schedule());
    canvas.addEventListener("blur", () => this.schedule());
  }

  inkByKey(event) {
    if (!this.hello?.picture || this.transport.replays) return;
    const [rows, columns] = this.hello.picture;
    const start = this.cursor ?? [rows >> 1, columns >> 1];
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (move) {
      this.cursor = [clamp(start[0] + move[0], 0, rows - 1), clamp(start[1] + move[1], 0, columns - 1)];
      this.schedule();
    } else if (event.key === "Enter" || event.key === " ") {
      this.cursor = start;
      const at = [start[0] + 0.5, start[1] + 0.5];
      this.brush(at, at, event.shiftKey);
      this.sendDrawing();
    } else return;
    event.preventDefault();
  }

  // Inks the pixels near the way from one point to another, softly at the edge.
  brush([r0, c0], [r1, c1], erase) {
    const [rows, columns] = this.hello.picture;
    this.pixels ??= new Float32Array(rows * columns);
    // An eraser is wider, so that a stroke's soft edge goes with it.
    const radius = Math.max(0.75, Math.min(rows, columns) / 22) + (erase ? 1 : 0);
    const steps = Math.ceil(2 * Math.hypot(r1 - r0, c1 - c0)) + 1;
    for (const k of range(steps)) {
      const [r, c] = [r0 + (r1 - r0) * k / steps, c0 + (c1 - c0) * k / steps];
      for (const i of range(rows)) for (const j of range(columns)) {
        const ink = 255 * clamp(radius + 0.5 - Math.hypot(i + 0.5 - r, j + 0.5 - c), 0, 1);
        const p = i * columns + j;
        this.pixels[p] = erase ? Math.min(this.pixels[p], 255 - ink) : Math.max(this.pixels[p], ink);
      }
    }
  }

  sendDrawing() {
    if (!this.pixels || !this.hello.picture) return;
    this.send({ type: "draw", pixels: Array.from(this.pixels, Math.round) });
    this.asked = this.serial;
    this.schedule();
  }
}

// Pictures of arrays.

// How a layer's units lie in a picture: tiles of rows and columns.
function tiles(shape) {
  if (shape.length >= 3) return { count: shape.slice(0, -2).reduce((a, b) => a * b, 1), rows: shape.at(-2), columns: shape.at(-1) };
  if (shape.length === 2) return { count: 1, rows: shape[0], columns: shape[1] };
  const n = shape[0] ?? 1;
  const columns = Math.ceil(Math.sqrt(n));
  return { count: 1, rows: Math.ceil(n / columns), columns };
}

function paint(canvas, { count, rows, columns }, data, colors, scale, diverging = false) {
  const across = count === 1 ? 1 : Math.ceil(Math.sqrt(count * rows / columns));
  const down = Math.ceil(count / across);
  const gap = count === 1 ? 0 : 1;
  const [width, height] = [across * (columns + gap) - gap, down * (rows + gap) - gap];
  const image = new ImageData(width, height);
  for (let k = 0; k < data.length; k++) {
    const tile = Math.floor(k / (rows * columns));
    const row = Math.floor(k / columns) % rows;
    const x = (tile % across) * (columns + gap) + k % columns;
    const y = Math.floor(tile / across) * (rows + gap) + row;
    const value = clamp(scale ? data[k] / scale : 0, -1, 1);
    const end = diverging && value < 0 ? colors.less : diverging ? colors.more : colors.ink;
    const share = Math.abs(value);
    for (let c = 0; c < 3; c++) image.data[4 * (y * width + x) + c] = colors.paper[c] + share * (end[c] - colors.paper[c]);
    image.data[4 * (y * width + x) + 3] = 255;
  }
  // Drawn pixel by pixel, then enlarged by a whole factor, so that edges stay sharp.
  const factor = Math.max(1, Math.floor(320 / Math.max(width, height)));
  resize(canvas, width * factor, height * factor);
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  canvas.cells = (x, y) => {
    const [i, j] = [Math.floor(y * height), Math.floor(x * width)];
    const [ti, tj] = [Math.floor(i / (rows + gap)), Math.floor(j / (columns + gap))];
    const [r, c] = [i - ti * (rows + gap), j - tj * (columns + gap)];
    return r < rows && c < columns ? (ti * across + tj) * rows * columns + r * columns + c : null;
  };
}

// A bar for each value, with marks where it was free and where it should be; or, with a
// scale, signed bars in the colors of changes.
function bars(canvas, values, colors, { free = null, target = null, scale = null }) {
  const context = fit(canvas);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const low = scale === null ? Math.min(0, ...values, ...(free ?? [])) - 0.05 : -1.05 * scale || -1;
  const high = scale === null ? Math.max(1, ...values, ...(free ?? [])) + 0.05 : 1.05 * scale || 1;
  const y = (value) => (height - 16) * (high - value) / (high - low);
  const slot = width / values.length;
  const best = argmax(values);
  canvas.cells = (x) => Math.floor(x * values.length);
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  values.forEach((value, k) => {
    const x = k * slot + 0.18 * slot;
    const wide = 0.64 * slot;
    context.fillStyle = scale === null ? (k === best ? colors.accent : colors.soft) : `rgb(${value < 0 ? colors.less : colors.more})`;
    context.fillRect(x, Math.min(y(value), y(0)), wide, Math.max(1, Math.abs(y(value) - y(0))));
    if (free) line(context, colors.text, 2, [[x, y(free[k])], [x + wide, y(free[k])]]);
    if (target) { context.setLineDash([3, 2]); line(context, colors.text, 1, [[x - 3, y(target[k])], [x + wide + 3, y(target[k])]]); context.setLineDash([]); }
    context.fillStyle = colors.text;
    context.font = `${k === best && scale === null ? "bold " : ""}12px system-ui, sans-serif`;
    context.fillText(k, x + wide / 2, height - 3);
  });
  line(context, colors.text, 1, [[0, y(0)], [width, y(0)]]);
}

function chart(canvas, values, spans, colors, certify) {
  const context = fit(canvas);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const finite = Array.from(values, (v) => (certify === null ? v : Math.log10(Math.max(v, 1e-12)))).map((v) => (Number.isFinite(v) ? v : null));
  const known = finite.filter((v) => v !== null);
  let [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
  if (certify !== null) [low, high] = [Math.min(low, Math.log10(certify)) - 0.3, Math.max(high, Math.log10(certify)) + 0.3];
  if (high - low < 1e-9) [low, high] = [low - 1e-6 - Math.abs(low) * 1e-3, high + 1e-6 + Math.abs(high) * 1e-3];
  const x = (k) => 4 + (width - 8) * k / Math.max(1, values.length - 1);
  const y = (v) => 18 + (height - 36) * (high - v) / (high - low);
  spans.forEach(([start, phase], k) => {
    if (phase !== "nudged") return;
    const [from, to] = [x(start), x(spans[k + 1]?.[0] ?? values.length - 1)];
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, height);
    context.clip();
    context.fillStyle = colors.shade;
    context.fillRect(from, 0, to - from, height);
    for (let d = from - height; d < to; d += 7) line(context, colors.hatch, 1, [[d, height], [d + height, 0]]);
    context.restore();
  });
  if (certify !== null) { context.setLineDash([4, 3]); line(context, colors.text, 1, [[0, y(Math.log10(certify))], [width, y(Math.log10(certify))]]); context.setLineDash([]); }
  const points = finite.map((v, k) => (v === null ? null : [x(k), y(v)])).filter(Boolean);
  line(context, colors.accent, 2, points);
  if (points.length) { context.fillStyle = colors.accent; context.beginPath(); context.arc(...points.at(-1), 3, 0, 7); context.fill(); }
  context.fillStyle = colors.faint;
  context.font = "11px system-ui, sans-serif";
  const text = (v) => (certify === null ? short(v) : `1e${Math.round(v)}`);
  context.fillText(text(high), 4, 12);
  context.fillText(text(low), 4, height - 4);
}

function line(context, color, width, points) {
  context.strokeStyle = color;
  context.lineWidth = width;
  context.beginPath();
  points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

// A canvas at the resolution of the screen, drawn to in CSS pixels.
function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  resize(canvas, Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return context;
}

function resize(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
}

function palette(root) {
  const style = getComputedStyle(root);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const rgb = (name) => color(name).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
  return { paper: rgb("paper"), ink: rgb("ink"), more: rgb("more"), less: rgb("less"), accent: color("accent"), soft: color("soft"), text: color("text"), faint: color("faint"), shade: color("shade"), hatch: color("hatch") };
}

// Small things.

function element(tag, properties) { return Object.assign(document.createElement(tag), properties); }
function options(select, names) { select.replaceChildren(...names.map((name) => element("option", { value: name, textContent: name }))); }
function range(n) { return Array.from({ length: n }, (_, k) => k); }
function clamp(value, low, high) { return Math.min(high, Math.max(low, value)); }
function largest(data) { let most = 0; for (const v of data) if (Math.abs(v) > most) most = Math.abs(v); return most; }
function argmax(data) { let best = 0; data.forEach((v, k) => { if (v > data[best]) best = k; }); return best; }
function short(value) { return value === null || value === undefined ? "not finite" : String(Number(value.toPrecision(3))); }
function signed(value) { return (value < 0 ? "−" : "+") + short(Math.abs(value)); }

// Started by itself where there is a place for it.
const place = globalThis.document?.getElementById("eqprop-viewer");
if (place) {
  const recording = document.getElementById("recording");
  const socket = new URL("socket", location.href.split(/[?#]/)[0]);
  socket.protocol = "ws:";
  mount(place, recording ? new Recording(recording.textContent) : new SocketTransport(socket));
}
