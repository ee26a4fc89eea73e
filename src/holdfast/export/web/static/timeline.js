// What happened when, a row a name: states as bars, all else as marks. Scroll, zoom, and hover for the cause.

import { h, s, by, clock, tip } from "./draw.js";

const ROW = 26, TOP = 22, LEFT = 104, ROWS = 14, MARKS = 400;
const STEPS = [1, 5, 15, 60, 300, 900, 3600, 10800, 43200, 86400, 604800].map((seconds) => seconds * 1000);

export class Timeline {
  constructor() {
    this.rows = [];
    this.until = null; // null: now
    this.span = 10 * 60e3;
    this.name = "";
    this.place = by("timeline");
    this.svg = s("svg");
    this.place.append(this.svg);
    this.place.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.move(event.deltaX / 600);
      else this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.part(event.clientX));
    }, { passive: false });
    let from = null;
    this.place.addEventListener("pointerdown", (event) => { from = event.clientX; });
    addEventListener("pointermove", (event) => {
      if (from === null) return;
      this.move((from - event.clientX) / Math.max(1, this.width() - LEFT));
      from = event.clientX;
    });
    addEventListener("pointerup", () => { from = null; });
    this.place.addEventListener("keydown", (event) => this.key(event));
  }

  width() { return Math.max(280, this.place.clientWidth); }

  part(x) {
    const place = this.place.getBoundingClientRect();
    return Math.min(1, Math.max(0, (x - place.left - LEFT) / Math.max(1, place.width - LEFT)));
  }

  key(event) {
    const moves = { ArrowLeft: () => this.move(-0.2), ArrowRight: () => this.move(0.2), "+": () => this.zoom(0.7, 0.5),
      "=": () => this.zoom(0.7, 0.5), "-": () => this.zoom(1.4, 0.5), Home: () => this.everything(),
      End: () => { this.until = null; this.draw(); } };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  }

  end() { return this.until === null ? Date.now() : this.until; }

  move(part) {
    const until = this.end() + part * this.span;
    this.until = until >= Date.now() ? null : until;
    this.draw();
  }

  zoom(factor, part) {
    const fixed = this.end() - this.span * (1 - part);
    this.span = Math.min(Math.max(this.span * factor, 2e3), 90 * 86400e3);
    const until = fixed + this.span * (1 - part);
    this.until = until >= Date.now() || this.until === null ? null : until;
    this.draw();
  }

  everything() {
    if (!this.rows.length) return;
    this.until = null;
    this.span = Math.max(2e3, (Date.now() - this.rows[0].at) * 1.05);
    this.draw();
  }

  take(rows) {
    const first = !this.rows.length;
    this.rows = rows.map((row) => ({ ...row, at: Date.parse(row.time) }));
    if (first && rows.length) this.span = Math.min(this.span, Math.max(30e3, (Date.now() - this.rows[0].at) * 1.3));
    this.draw();
    this.list();
  }

  only(name) { this.name = name; this.draw(); this.list(); }

  wanted() {
    const concerns = (row) => !this.name || row.name === this.name || row.kind === "daemon" || row.kind === "reload" ||
      (row.kind === "tracker" && (!row.instances || row.instances.includes(this.name)));
    return this.rows.filter(concerns);
  }

  list() {
    by("events").replaceChildren(...this.wanted().slice(-12).reverse().map((row) => h("li", {},
      h("time", { datetime: row.time }, clock(row.time)), h("strong", {}, `${row.name || "daemon"} ${row.what}`),
      row.cause ? ` — ${row.cause}` : "")));
  }

  draw() {
    const width = this.width(), to = this.end(), from = to - this.span;
    const x = (at) => LEFT + (at - from) / this.span * (width - LEFT - 12);
    const rows = this.wanted(), lanes = new Map();
    for (const row of [...rows].reverse()) {
      const key = row.name || "daemon";
      if (!lanes.has(key) && lanes.size < ROWS) lanes.set(key, []);
      if (lanes.has(key)) lanes.get(key).unshift(row);
    }
    const parts = [], names = [...lanes.keys()].sort(), marks = [];
    const step = STEPS.find((one) => this.span / one < width / 120) || STEPS.at(-1);
    for (let at = Math.ceil(from / step) * step; at < to; at += step) {
      parts.push(s("line", { class: "grid", x1: x(at), x2: x(at), y1: TOP - 4, y2: TOP + names.length * ROW }));
      if (x(at) < width - 70) parts.push(s("text", { class: "soft", x: x(at) + 3, y: 13 }, clock(at, step >= 43200e3)));
    }
    names.forEach((name, index) => {
      const y = TOP + index * ROW;
      parts.push(s("text", { x: 0, y: y + 17 }, name.length > 13 ? `${name.slice(0, 12)}…` : name));
      const states = lanes.get(name).filter((row) => row.kind === "state");
      states.forEach((row, number) => {
        const next = states[number + 1];
        const a = Math.max(x(row.at), LEFT), b = Math.min(next ? x(next.at) : x(Date.now()), width - 12);
        if (b > a && row.state) parts.push(s("rect", { class: `bar ${row.state}`, x: a, y: y + 6, width: b - a, height: 14, rx: 3 }));
      });
      const inside = lanes.get(name).filter((row) => row.at >= from && row.at <= to);
      for (const row of inside.slice(-MARKS)) {
        const said = `${clock(row.time)} ${row.name || "daemon"}: ${row.what}${row.cause ? `: ${row.cause}` : ""}${row.cure ? `; cure: ${row.cure}` : ""}`;
        const bad = row.up === false || row.state === "FAULT" || row.opened === true;
        marks.push(tip(s("circle", { class: `mark ${row.kind} ${bad ? "bad" : ""}`, cx: x(row.at), cy: y + 13, r: 5,
          tabindex: 0, role: "img", "aria-label": said }), said));
      }
    });
    const focused = this.svg.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
    this.svg.replaceChildren(...parts, ...marks);
    if (focused) marks.find((one) => one.getAttribute("aria-label") === focused)?.focus();
    const height = TOP + Math.max(1, names.length) * ROW + 6;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
  }
}
