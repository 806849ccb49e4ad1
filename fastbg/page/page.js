"use strict";
// Draws the rows of a page, filters and zooms them. What a row says, and when its marks are, the server decides:
// see `encoded` in fastbg/page/rows.py for the lists, and fastbg/report/timelines.py for the marks.

const SVG = "http://www.w3.org/2000/svg";
const MARK_GAP = 13; // px between two marks
const MARGIN = 300; // px above and below the visible rows that are drawn too
const EDGE = 8; // px beside the scale, for half a mark
const MIDDLE = 14; // px from the top of a bar to its line
const RUNNING = "running";
const PROBLEMS = ["failed", "dropped", "lost", "unproven"];
const MAX_LISTED = 20; // requests in a panel
const MAX_NAME = 80; // characters of a name in a panel: what it does must have room too
const ORDER = ["running", "response-first", "overlapping", "work-first", "no-work", ...PROBLEMS]; // of the filters
const MAX_PRINTED = 1000; // rows on paper
const PRINTED_WIDTH = 260; // px of the scale on paper, which is narrower than a window
const BEHIND = 1000; // ms that a live page may be behind without saying so
const SILENCE = 25000; // ms without a message that are no accident: there is one every 10 s, see `QUIET_S` in live.py

const create = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const draw = (name, className, attributes) => {
  const made = document.createElementNS(SVG, name);
  made.setAttribute("class", className);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

// Makes the children of `parent` equal to `made`, and keeps the elements: a redrawn line must not lose a click, the
// focus, a selection or the place of a screen reader.
function renew(parent, made) {
  const old = [...parent.childNodes];
  made.forEach((child, i) => {
    if (old[i]?.nodeName !== child.nodeName) old[i] ? old[i].replaceWith(child) : parent.append(child);
    else if (child.nodeType === Node.TEXT_NODE) old[i].data === child.data || (old[i].data = child.data);
    else {
      for (const name of old[i].getAttributeNames()) if (!child.hasAttribute(name)) old[i].removeAttribute(name);
      for (const name of child.getAttributeNames())
        if (old[i].getAttribute(name) !== child.getAttribute(name)) old[i].setAttribute(name, child.getAttribute(name));
      renew(old[i], [...child.childNodes]);
    }
  });
  for (const rest of old.slice(made.length)) rest.remove();
}

// Puts `wanted` into `parent` in this order, and moves only what is not at its place.
function arrange(parent, wanted) {
  let next = parent.firstElementChild;
  for (const element of wanted) {
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
}

const shortened = (text) => (text.length > MAX_NAME ? `${text.slice(0, MAX_NAME - 1)}…` : text);
const milliseconds = (ms) => (ms === null ? "-" : Math.abs(ms) >= 100 ? ms.toFixed(0) : ms.toFixed(1));
const age = (ms) => {
  const [s, min, h] = [1000, 60_000, 3_600_000].map((unit) => Math.floor(ms / unit));
  return !min ? `${(ms / 1000).toFixed(1)} s` : !h ? `${min} min ${s % 60} s` : `${h} h ${min % 60} min`;
};
const timeOfDay = (date) => `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
const moment = (date) => Number.isNaN(date.getTime()) ? "a time that no calendar has" // a journal may hold any number
  : `${date.toLocaleDateString("sv")} ${timeOfDay(date)} ${date.toTimeString().slice(9, 17)}`; // with the zone

function decodedRow(texts, list) {
  const [key, name, part, path, state, asExpected, status, waited, at, notes, spans, marks, moments, doing] = list;
  const row = {
    key, status, waited, at, asExpected: asExpected === 1,
    name: texts[name], part: texts[part], path: texts[path], state: texts[state],
    notes: notes.map((note) => texts[note]), spans: [], marks: [], moments: [],
    doing: doing && { text: texts[doing[0]], since: doing[1], began: doing[2], waits: doing[3] === 1 },
  };
  for (let i = 0; i < spans.length; i += 3) row.spans.push({ start: spans[i], end: spans[i + 1], text: texts[spans[i + 2]] });
  for (let i = 0; i < marks.length; i += 4)
    row.marks.push({ ms: marks[i], witness: texts[marks[i + 1]], text: texts[marks[i + 2]], kind: texts[marks[i + 3]] });
  for (let i = 0; i < moments.length; i += 3)
    row.moments.push({ ms: moments[i], witness: texts[moments[i + 1]], text: texts[moments[i + 2]] });
  row.number = Number(key); // the keys count the requests
  row.isOver = row.state !== RUNNING;
  row.last = Math.max(waited ?? 0, ...row.spans.map((span) => span.end ?? span.start), ...row.marks.map((mark) => mark.ms ?? 0));
  row.words = `${row.name} ${row.path} ${row.part}`.toLowerCase();
  return row;
}

// One box for all tooltips: beside the pointer, or below the mark that has the focus.
const tip = {
  box: create("div", "tip"),
  show(target, x, y) {
    this.box.replaceChildren(...target.dataset.tip.split("\n").map((line) => create("div", "", line)));
    this.box.hidden = false;
    const { width, height } = this.box.getBoundingClientRect();
    this.box.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - width - 4))}px`;
    this.box.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 12) : y + 18}px`;
  },
  hide() {
    this.box.hidden = true;
  },
  start() {
    this.box.hidden = true;
    this.box.setAttribute("role", "tooltip");
    document.body.append(this.box);
    const owner = (event) => event.target.closest?.("[data-tip]");
    document.addEventListener("pointermove", (event) => (owner(event) ? this.show(owner(event), event.clientX, event.clientY) : this.hide()));
    document.addEventListener("focusin", (event) => {
      if (!owner(event)) return this.hide();
      const place = owner(event).getBoundingClientRect();
      this.show(owner(event), place.left, place.bottom - 12);
    });
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.hide());
    document.addEventListener("scroll", () => this.hide(), { passive: true, capture: true });
  },
};

class View {
  constructor(root) {
    this.root = root;
    const data = JSON.parse(root.querySelector("script").textContent);
    this.settings = data;
    this.shapes = new Map(data.legend.map(([kind, shape]) => [kind, shape]));
    this.kinds = new Map(data.legend.map(([kind, , text]) => [kind, text]));
    this.rows = new Map();
    this.states = new Set(); // the chosen ones, empty for all
    this.search = "";
    this.from = 0;
    this.to = null; // the end of the scale, null for the last mark
    this.open = new Map(); // key of a row: height of its fold in px
    this.shown = new Map(); // key of an item: its element
    this.items = [];
    this.frozen = null; // what a paused page shows: {rows, total, time}
    this.skew = -Infinity; // ms from the clock of the browser to the monotonic one of the server
    this.behind = 0; // ms: what happened since then is not known yet
    this.focus = null; // [key of a row, number of a mark or -1]
    this.build();
    this.take(data);
    this.render();
    root.dataset.ready = "";
  }

  build() {
    const controls = create("div", "controls");
    this.chips = create("div", "chips");
    this.chips.setAttribute("role", "group");
    this.chips.setAttribute("aria-label", "Filter by verdict");
    const search = create("input", "search");
    Object.assign(search, { type: "search", placeholder: "Filter by name or path" });
    search.setAttribute("aria-label", "Filter by name or path");
    search.addEventListener("input", () => { this.search = search.value.trim().toLowerCase(); this.changed(); });
    this.pan = create("input", "pan");
    Object.assign(this.pan, { type: "range", min: 0, max: 1000, value: 0, disabled: true });
    this.pan.setAttribute("aria-label", "Move the visible time");
    this.pan.addEventListener("input", () => {
      const width = this.to - this.from;
      this.from = (this.pan.value / 1000) * Math.max(this.end - width, 0);
      this.to = this.from + width;
      this.changed();
    });
    const zoom = create("div", "zoom");
    for (const [text, label, act] of [
      ["−", "Zoom out", () => this.zoom(2)], ["+", "Zoom in", () => this.zoom(0.5)], ["All", "Show all of the time", () => this.zoom(0)],
    ]) {
      const button = create("button", "", text);
      button.type = "button";
      button.title = label;
      button.setAttribute("aria-label", label);
      button.addEventListener("click", act);
      zoom.append(button);
    }
    zoom.append(this.pan);
    controls.append(this.chips, search, zoom);
    if (this.settings.live) controls.append(this.pauseButton());
    this.count = create("p", "count");
    if (!this.settings.live) this.count.setAttribute("role", "status"); // it would be read out ten times a second
    const axisRow = create("div", "line axis");
    axisRow.append(create("span", "name", this.settings.zero), create("span", "verdict"));
    this.axis = draw("svg", "bar", { "aria-hidden": "true" });
    axisRow.append(this.axis);
    this.list = create("div", "list");
    this.list.setAttribute("role", "list");
    this.scroller = create("div", "scroller");
    this.scroller.append(axisRow, this.list);
    this.root.append(controls, this.count, this.scroller);
    this.list.addEventListener("click", (event) => {
      const line = event.target.closest(".request");
      const owner = event.target.closest("[data-tip]");
      if (owner && event.pointerType === "touch") tip.show(owner, event.clientX, event.clientY); // a finger cannot hover
      else if (line && !event.target.closest(".fold")) this.toggle(line.dataset.key);
    });
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("focusin", (event) => {
      const line = event.target.closest(".request");
      if (line) this.focus = [line.dataset.key, event.target.dataset.mark === undefined ? -1 : Number(event.target.dataset.mark)];
    });
    this.scroller.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const place = this.axis.getBoundingClientRect();
      const share = (event.clientX - place.left - EDGE) / Math.max(place.width - 2 * EDGE, 1);
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, Math.min(Math.max(share, 0), 1));
    }, { passive: false });
    this.scroller.addEventListener("scroll", () => this.request(), { passive: true });
    new ResizeObserver(() => this.changed(false)).observe(this.axis);
  }

  pauseButton() {
    const button = create("button", "pause", "Pause");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      if (!this.frozen) this.render(); // what has come until now
      this.frozen = this.frozen ? null : { rows: new Map(this.rows), total: this.total, time: this.clock() - this.behind };
      button.setAttribute("aria-pressed", String(this.frozen !== null));
      this.changed();
    });
    return button;
  }

  // Adds and replaces rows. `message`: {texts, rows}, and of a live page also {first, now, total, behind}.
  take(message) {
    if (message.first) {
      this.rows.clear();
      this.skew = -Infinity;
      if (message.feed !== this.feed) this.open.clear(); // another process, whose keys are those of other requests
      this.feed = message.feed;
    }
    if (message.now) this.skew = Math.max(this.skew, message.now - performance.now()); // of the fastest message
    if (message.total !== undefined) this.total = message.total;
    for (const list of message.rows) {
      const row = decodedRow(message.texts, list);
      this.rows.set(row.key, row);
    }
    for (const key of this.rows.keys()) {
      if (this.rows.size <= this.settings.max) break;
      this.rows.delete(key);
      this.open.delete(key);
    }
    if (!this.frozen) this.changed();
  }

  changed(again = true) {
    this.isStale = this.isStale || again;
    this.version = (this.version ?? 0) + 1;
    this.request();
  }

  request() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => { this.frame = null; this.render(); });
  }

  clock() {
    return performance.now() + this.skew;
  }

  now(row) {
    return (this.frozen?.time ?? this.clock() - this.behind) - row.doing.began;
  }

  lastOf(row) {
    return row.isOver ? row.last : Math.max(row.last, this.now(row));
  }

  matches(row) {
    return (!this.states.size || this.states.has(row.state)) && row.words.includes(this.search);
  }

  // Chooses the items: the rows that match, with a heading before the first of each part.
  select() {
    const place = Math.floor(this.scroller.scrollTop / this.height());
    const anchor = this.settings.live && place > 0 ? this.items[place]?.key : undefined;
    const { rows, total } = this.frozen ?? this;
    const counts = new Map();
    const matching = [];
    for (const row of rows.values()) {
      counts.set(row.state, (counts.get(row.state) ?? 0) + 1);
      if (this.matches(row)) matching.push(row);
    }
    if (this.settings.live) matching.reverse().sort((a, b) => b.number - a.number);
    this.items = [];
    let part = "";
    for (const row of matching) {
      if (row.part !== part) this.items.push({ key: `part ${this.items.length}`, heading: row.part });
      part = row.part;
      this.items.push({ key: row.key, row });
    }
    const moved = anchor === undefined ? -1 : this.items.findIndex((item) => item.key === anchor);
    if (moved >= 0 && moved !== place) {
      this.list.style.height = `${this.items.length * this.height()}px`;
      this.scroller.scrollTop += (moved - place) * this.height(); // new rows come first: the others stay where they are
    }
    this.end = matching.reduce((most, row) => Math.max(most, this.lastOf(row)), 0) * 1.02 || 1;
    this.showChips(counts);
    const all = total === undefined ? rows.size : total;
    const some = rows.size.toLocaleString("en");
    const kept = all === rows.size ? "" : rows.size < this.settings.max ? ` (${some} of them here)` : ` (the last ${some} are kept)`;
    const is = matching.length === 1 ? "request" : "requests";
    this.count.textContent = matching.length === rows.size
      ? `${all.toLocaleString("en")} ${all === 1 ? "request" : "requests"}${kept}`
      : `${matching.length.toLocaleString("en")} ${is} of ${all.toLocaleString("en")}${kept}`;
  }

  showChips(counts) {
    for (const state of this.states) if (!counts.has(state)) counts.set(state, 0);
    const known = new Map([...this.chips.children].map((chip) => [chip.dataset.state, chip]));
    for (const [state, count] of counts) {
      let chip = known.get(state);
      if (!chip) {
        chip = create("button", `chip state ${state}`);
        chip.type = "button";
        chip.dataset.state = state;
        chip.addEventListener("click", () => {
          if (!this.states.delete(state)) this.states.add(state);
          this.changed();
        });
        const rank = ORDER.indexOf(state);
        this.chips.insertBefore(chip, [...this.chips.children].find((other) => ORDER.indexOf(other.dataset.state) > rank) ?? null);
      }
      known.delete(state);
      chip.textContent = `${count.toLocaleString("en")} ${state}`;
      chip.setAttribute("aria-pressed", String(this.states.has(state)));
    }
    for (const chip of known.values()) chip.remove();
  }

  // Changes the visible time by `factor` around the point at `share` of it; 0 shows all.
  zoom(factor, share = 0.5) {
    const from = this.from;
    const width = (this.to ?? this.end) - from;
    const wider = Math.max(width * factor, 0.01);
    if (!factor || wider >= this.end) {
      this.from = 0;
      this.to = null;
    } else {
      this.from = Math.min(Math.max(from + (width - wider) * share, 0), this.end - wider);
      this.to = this.from + wider;
    }
    this.changed();
  }

  x(ms) {
    return EDGE + ((ms - this.from) / (this.until - this.from)) * this.scaleWidth;
  }

  render() {
    if (this.isStale) this.select();
    this.isStale = false;
    this.until = this.to ?? this.end;
    this.scaleWidth = this.isPrinting ? PRINTED_WIDTH : Math.max(this.axis.clientWidth - 2 * EDGE, 1);
    this.scale = [this.from, this.until, this.scaleWidth].join(" ");
    this.pan.disabled = this.to === null;
    this.pan.value = this.to === null ? 0 : (this.from / Math.max(this.end - (this.to - this.from), 1e-9)) * 1000;
    if (this.drawn !== this.version) this.drawAxis();
    this.placeItems();
    this.drawn = this.version;
  }

  drawAxis() {
    const step = roundStep(this.until - this.from, Math.max(this.scaleWidth / 80, 1));
    const parts = [];
    for (let tick = Math.ceil(this.from / step) * step; tick <= this.until; tick += step) {
      const x = this.x(tick);
      parts.push(draw("line", "tick", { x1: x, x2: x, y1: 0, y2: 6 }));
      const text = draw("text", "label", { x, y: 19 });
      text.textContent = String(Number(tick.toPrecision(9)));
      parts.push(text);
    }
    this.axis.replaceChildren(...parts);
  }

  print(isPrinting) {
    this.isPrinting = isPrinting;
    this.version++;
    this.render();
  }

  height() {
    return parseFloat(getComputedStyle(this.list).getPropertyValue("--row"));
  }

  // Puts the items that the window shows into the document, each at its place, and removes all others. On paper: all.
  placeItems() {
    const height = this.height();
    const top = this.isPrinting ? -Infinity : this.scroller.scrollTop - MARGIN;
    const bottom = this.isPrinting ? Infinity : top + this.scroller.clientHeight + 2 * MARGIN;
    const wanted = new Set();
    let first;
    let y = 0;
    for (const item of this.isPrinting ? this.items.slice(0, MAX_PRINTED) : this.items) {
      const own = height + (this.open.get(item.key) ?? 0);
      if (y + own > top && y < bottom) {
        wanted.add(item.key);
        this.place(item, y, height);
        if (item.row && y >= this.scroller.scrollTop) first ??= item.key;
      }
      y += own;
    }
    // One stop for the Tab key, however many rows there are: the arrow keys go on from there.
    const stop = wanted.has(this.focus?.[0]) ? this.focus[0] : first;
    for (const key of wanted) {
      const line = this.shown.get(key).querySelector(".request");
      if (line) line.tabIndex = key === stop ? 0 : -1;
    }
    for (const [key, element] of this.shown)
      if (!wanted.has(key)) {
        element.remove();
        this.shown.delete(key);
      }
    arrange(this.list, [...wanted].map((key) => this.shown.get(key))); // for screen readers and paper
    this.list.style.height = `${y}px`;
  }

  place(item, y, height) {
    let element = this.shown.get(item.key);
    if (!element) {
      element = create("div", item.row ? "item" : "item part");
      element.setAttribute("role", "listitem");
      if (!item.row) element.textContent = item.heading;
      this.shown.set(item.key, element);
      this.list.append(element);
    }
    element.style.transform = `translateY(${y}px)`;
    if (!item.row) return;
    const isOpen = this.open.has(item.key);
    const row = item.row;
    const wasOpen = element.dataset.open === "true";
    const isSame = element.row === row && element.scale === this.scale && wasOpen === isOpen;
    if (isSame && (row.isOver || element.version === this.version)) return; // the bar of a running request grows
    Object.assign(element, { row, scale: this.scale, version: this.version });
    element.dataset.open = isOpen;
    const hadFocus = element.contains(document.activeElement);
    renew(element, [this.line(row, isOpen), ...(isOpen ? [this.fold(row)] : [])]);
    if (hadFocus && !element.contains(document.activeElement)) this.focusOn(element); // its mark is gone
    if (isOpen) {
      const extra = element.offsetHeight - height;
      if (extra !== this.open.get(item.key)) {
        this.open.set(item.key, extra);
        this.request();
      }
    }
  }

  focusOn(element) {
    const mark = element.querySelector(`[data-mark="${this.focus?.[1]}"]`);
    (mark ?? element.querySelector(".request")).focus({ preventScroll: true });
  }

  line(row, isOpen) {
    const line = create("div", "line request");
    line.dataset.key = row.key;
    line.tabIndex = -1; // one of all rows has 0: see `placeItems`
    line.setAttribute("role", "button");
    line.setAttribute("aria-expanded", String(isOpen));
    const verdict = row.asExpected ? row.state : `✗ ${row.state}`;
    line.setAttribute("aria-label", `${row.name}: ${verdict}, waited ${milliseconds(row.waited)} ms`);
    const name = create("span", "name", row.name);
    name.title = row.path === row.name ? row.name : `${row.name}: ${row.path}`;
    line.append(name, create("span", `verdict state ${row.state}${row.asExpected ? "" : " unmet"}`, verdict), this.bar(row));
    return line;
  }

  // Draws a bar as the terminal does: the wait, the tasks behind it, and the marks side by side.
  bar(row) {
    const svg = draw("svg", "bar", { role: "group", "aria-label": "time line" });
    const now = row.isOver ? null : this.now(row);
    const waited = row.waited ?? (row.doing?.waits ? now : null);
    for (const span of row.spans) this.segment(svg, "working", span.start, span.end ?? now ?? this.end, span.text);
    if (waited !== null) this.segment(svg, "waiting", 0, waited, `${this.kinds.get("waiting")}, ${milliseconds(waited)} ms`);
    const marks = row.marks.map((mark, number) => ({ ...mark, number, at: mark.ms ?? this.end }))
      .filter((mark) => mark.at >= this.from && mark.at <= this.until).sort((a, b) => a.at - b.at);
    const places = [];
    const gap = Math.min(MARK_GAP, this.scaleWidth / Math.max(marks.length - 1, 1)); // smaller if they need more than the bar
    for (const mark of marks) places.push(Math.max(this.x(mark.at), (places.at(-1) ?? -Infinity) + gap));
    for (let i = places.length - 1, right = this.scaleWidth + EDGE; i >= 0; i--, right -= gap) places[i] = Math.min(places[i], right);
    marks.forEach((mark, i) => {
      const when = [mark.ms === null ? "no end was seen" : `${milliseconds(mark.ms)} ms`, mark.witness].filter(Boolean).join(" · ");
      const shape = draw("g", `mark ${mark.kind}`, { tabindex: -1, role: "img", "data-mark": mark.number });
      shape.setAttribute("transform", `translate(${places[i]} ${MIDDLE})`);
      shape.setAttribute("aria-label", `${this.kinds.get(mark.kind)}, ${when}: ${mark.text}`);
      shape.dataset.tip = `${when}\n${mark.text}`;
      shape.append(draw("circle", "place", { r: gap / 2 }), draw("path", mark.kind, { d: this.shapes.get(mark.kind) }));
      svg.append(shape);
    });
    return svg;
  }

  segment(svg, kind, start, end, text) {
    const from = Math.max(this.x(start), 0);
    const to = Math.min(this.x(end), this.scaleWidth + 2 * EDGE);
    if (to < from) return;
    const line = draw("line", kind, { x1: from, x2: Math.max(to, from + 1), y1: MIDDLE, y2: MIDDLE });
    line.dataset.tip = `${milliseconds(start)} to ${milliseconds(end)} ms\n${text}`;
    svg.append(line);
  }

  fold(row) {
    const fold = create("div", "fold");
    const status = row.status === null ? "no status" : `status ${row.status}`;
    const when = row.at === null ? [] : [`at ${moment(new Date(row.at))}`];
    fold.append(create("p", "about", [row.path, status, ...when].join(" · ")));
    for (const note of row.notes) fold.append(create("p", "note", note));
    const table = create("table", "events");
    for (const [i, text] of ["ms", "witness", "event"].entries()) {
      const head = i ? table.tHead.rows[0] : table.createTHead().insertRow();
      head.append(Object.assign(create("th", i ? "" : "number", text), { scope: "col" }));
    }
    const body = table.createTBody();
    for (const moment of row.moments) {
      const line = body.insertRow();
      line.append(create("td", "number", milliseconds(moment.ms)), create("td", "", moment.witness), create("td", "text", moment.text));
    }
    fold.append(table);
    return fold;
  }

  toggle(key) {
    if (!this.open.delete(key)) this.open.set(key, 0);
    this.focus = [key, -1];
    this.request();
  }

  // Enter opens a row; up, down, Home and End go to other rows, left and right to the marks of a row.
  key(event) {
    const line = event.target.closest(".request");
    if (!line || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.items.findIndex((item) => item.key === line.dataset.key);
    const marks = [...line.querySelectorAll("[data-mark]")];
    const mark = marks.indexOf(event.target);
    const page = Math.max(Math.floor(this.scroller.clientHeight / line.offsetHeight) - 3, 1);
    const moves = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -this.items.length, End: this.items.length };
    if (event.key === "Enter" || event.key === " ") this.toggle(line.dataset.key);
    else if (event.key === "ArrowRight") marks[Math.min(mark + 1, marks.length - 1)]?.focus();
    else if (event.key === "ArrowLeft") (mark > 0 ? marks[mark - 1] : line).focus();
    else if (moves[event.key]) this.goTo(at + moves[event.key], Math.sign(moves[event.key]));
    else return;
    event.preventDefault();
  }

  // Shows a row with its events, also if the filter hides it.
  reveal(key) {
    let at = this.items.findIndex((item) => item.key === key);
    if (at < 0) {
      this.states.clear();
      this.search = this.root.querySelector(".search").value = "";
      this.select();
      at = this.items.findIndex((item) => item.key === key);
    }
    if (at < 0) return; // no longer kept
    this.open.set(key, this.open.get(key) ?? 0);
    this.goTo(at, 1);
    this.scroller.scrollIntoView({ block: "nearest" });
  }

  goTo(at, direction) {
    at = Math.min(Math.max(at, 0), this.items.length - 1);
    while (this.items[at] && !this.items[at].row) at += this.items[at + direction] ? direction : -direction;
    const item = this.items[at];
    if (!item) return;
    const height = this.height();
    let y = at * height;
    for (const before of this.items.slice(0, at)) y += this.open.get(before.key) ?? 0;
    const below = y + height + this.list.offsetTop - this.scroller.clientHeight;
    if (y < this.scroller.scrollTop) this.scroller.scrollTop = y;
    else if (below > this.scroller.scrollTop) this.scroller.scrollTop = below;
    this.focus = [item.key, -1];
    this.placeItems();
    this.focusOn(this.shown.get(item.key));
  }
}

function roundStep(width, labels) {
  let step = 10 ** Math.floor(Math.log10(width / labels));
  for (const factor of [2, 2.5, 2]) if (width / step > labels) step *= factor;
  return step;
}

// The panels of a live page: what runs now, what did not end well, and what the server says about itself.
class Live {
  constructor(view) {
    this.view = view;
    this.status = document.querySelector("[data-status]");
    this.running = document.querySelector("[data-panel=running]");
    this.problems = document.querySelector("[data-panel=problems]");
    this.notices = document.querySelector("[data-panel=notices]");
    this.heard = performance.now(); // of the last message
    this.source = new EventSource("events");
    this.source.addEventListener("message", (event) => this.take(JSON.parse(event.data)));
    this.source.addEventListener("error", () => this.say("not connected: fastbg tail has ended, or restarts", false));
    setInterval(() => this.tick(), 250);
    document.querySelector(".panels").addEventListener("click", (event) => {
      if (event.target.dataset.key) this.view.reveal(event.target.dataset.key);
    });
  }

  say(text, isConnected) {
    this.status.textContent = text;
    this.status.classList.toggle("lost", !isConnected);
  }

  take(message) {
    this.heard = performance.now();
    this.view.take(message);
    const behind = (message.behind ?? 0) + this.view.clock() - message.now; // and how long the message waited
    this.view.behind = behind < BEHIND ? 0 : behind;
    this.say(behind < BEHIND ? "connected" : `connected, ${age(behind)} behind`, true);
    this.status.classList.toggle("late", behind >= BEHIND);
    if (message.notices) this.fill(this.notices, message.notices.map(([ms, text]) => [ms === null ? text : `${timeOfDay(new Date(ms))} ${text}`, ""]));
    this.isStale = true;
  }

  tick() {
    const silence = performance.now() - this.heard;
    if (silence > SILENCE && this.source.readyState === EventSource.OPEN) this.say(`no news from fastbg tail for ${age(silence)}`, false);
    if (this.view.frozen) return;
    const rows = [...this.view.rows.values()];
    const running = rows.filter((row) => !row.isOver);
    if (running.length) this.view.changed();
    if (!running.length && !this.isStale) return;
    this.isStale = false;
    this.fill(this.running, running.slice(0, MAX_LISTED).map((row) => [
      `${shortened(row.name)}: ${row.doing.text}`, `for ${age(Math.max(this.view.now(row) - row.doing.since, 0))}`, row.key,
    ]), running.length);
    const bad = rows.filter((row) => PROBLEMS.includes(row.state)).reverse();
    this.fill(this.problems, bad.slice(0, MAX_LISTED).map((row) => [`${shortened(row.name)}: ${row.state}`, row.notes.join("; "), row.key]), bad.length);
  }

  fill(panel, lines, count = lines.length) {
    panel.querySelector(".number").textContent = count.toLocaleString("en");
    panel.classList.toggle("empty", !count);
    const list = panel.querySelector("ul");
    const known = new Map([...list.children].map((line) => [line.dataset.of ?? line, line]));
    const kept = lines.map(([text, more, key]) => {
      const line = known.get(key) ?? create("li");
      const what = create(key === undefined ? "span" : "button", "", text);
      if (key !== undefined) line.dataset.of = what.dataset.key = key;
      renew(line, [what, create("span", "more", more)]);
      known.delete(key);
      return line;
    });
    for (const line of known.values()) line.remove();
    arrange(list, kept);
    if (count > lines.length) list.append(create("li", "more", `and ${(count - lines.length).toLocaleString("en")} more`));
  }
}

function startThemeSwitch() {
  const button = document.querySelector("[data-theme-switch]");
  button.hidden = false;
  button.addEventListener("click", () => {
    const wanted = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    document.documentElement.dataset.theme = wanted === "dark" ? "light" : "dark";
  });
}

startThemeSwitch();
tip.start();
const views = [...document.querySelectorAll("[data-view]")].map((root) => new View(root));
addEventListener("beforeprint", () => views.forEach((view) => view.print(true)));
addEventListener("afterprint", () => views.forEach((view) => view.print(false)));
if (views[0]?.settings.live) new Live(views[0]);
