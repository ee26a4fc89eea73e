// Hosts as boxes, and in each the addresses it owns now. An address that moves is seen to move.

import { h, s, by, tip } from "./draw.js";

const PILL = 44, GAP = 8, HEAD = 46, SHOWN = 60;

function owners(status) {
  // host → its addresses; this node first, then whoever was heard, last what nobody owns
  const hosts = new Map([["", { title: status.node, here: true, note: [], vips: [] }]]);
  const other = (address) => {
    if (!hosts.has(address)) hosts.set(address, { title: address, here: false, note: [], vips: [] });
    return hosts.get(address);
  };
  for (const one of status.instances) {
    for (const peer of one.unicast_peers || []) other(peer);
    if (one.last_heard) other(one.last_heard.address);
    let host = null;
    if (one.state === "MASTER") host = hosts.get("");
    else if (one.master) host = other(one.master.address);
    if (one.state !== "MASTER") hosts.get("").note.push(`${one.state} ${one.name}`);
    const place = host || (hosts.get("?") || (hosts.set("?", { title: "nobody known", here: false, note: [], vips: [] }),
      hosts.get("?")));
    for (const vip of [...one.vips, ...one.excluded_vips]) place.vips.push({ vip, one, owned: host });
  }
  return [...hosts.entries()];
}

const cut = (text, width) => text.length * 7.6 > width ? `${text.slice(0, Math.max(3, Math.floor(width / 7.6) - 1))}…` : text;

export class Picture {
  constructor(choose) {
    this.choose = choose;
    this.pills = new Map();
    this.svg = s("svg", { role: "group", "aria-label": "Hosts and the addresses they own" });
    this.boxes = s("g");
    this.front = s("g");
    this.svg.append(this.boxes, this.front);
    by("picture").append(this.svg);
  }

  draw(status, chosen) {
    const width = Math.max(280, by("picture").clientWidth);
    const all = owners(status);
    const columns = Math.max(1, Math.min(all.length, Math.floor(width / 250)));
    const side = (width - GAP * 2 * (columns - 1)) / columns;
    let y = 0, high = 0, shown = 0;
    const seen = new Set();
    const boxes = [];
    all.forEach(([key, host], index) => {
      const column = index % columns;
      if (column === 0 && index) { y += high + GAP * 2; high = 0; }
      const x = column * (side + GAP * 2);
      const visible = host.vips.slice(0, Math.max(0, SHOWN - shown));
      shown += visible.length;
      const rows = Math.max(1, visible.length);
      const height = HEAD + rows * (PILL + GAP) + (visible.length < host.vips.length ? 22 : 4);
      high = Math.max(high, height);
      boxes.push(s("rect", { class: `host ${host.here ? "here" : ""} ${key === "?" ? "nobody" : ""}`, x: x + 1, y: y + 1,
        width: side - 2, height: height - 2, rx: 10 }));
      boxes.push(s("text", { x: x + 12, y: y + 20, "font-weight": 700 }, cut(host.title, side - 24)));
      const note = host.here ? `this host${host.note.length ? `: ${host.note.join(", ")}` : ""}` :
        key === "?" ? "no master is known" : host.vips.length ? "master, as heard" : "heard";
      boxes.push(s("text", { x: x + 12, y: y + 37, class: "soft" }, cut(note, side - 24)));
      if (!host.vips.length) boxes.push(s("text", { x: x + 12, y: y + HEAD + 26, class: "soft" }, "owns no address"));
      visible.forEach((entry, row) => {
        const id = `${entry.one.name}|${entry.one.family}|${entry.vip}`;
        seen.add(id);
        this.pill(id, entry, x + 8, y + HEAD + row * (PILL + GAP), side - 16, chosen);
      });
      if (visible.length < host.vips.length)
        boxes.push(s("text", { x: x + 12, y: y + height - 9, class: "soft" }, `and ${host.vips.length - visible.length} more`));
    });
    this.boxes.replaceChildren(...boxes);
    for (const [id, pill] of this.pills) if (!seen.has(id)) { pill.remove(); this.pills.delete(id); }
    this.svg.setAttribute("viewBox", `0 0 ${width} ${y + high}`);
    this.svg.setAttribute("height", y + high);
  }

  pill(id, entry, x, y, width, chosen) {
    let pill = this.pills.get(id);
    const pick = () => this.choose(entry.one.name);
    if (!pill) {
      pill = s("g", { tabindex: 0, role: "button", onclick: pick,
        onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(); } } },
        s("rect", { height: PILL, rx: 8 }), s("text", { x: 10, y: 18 }), s("text", { x: 10, y: 35, class: "soft" }));
      this.pills.set(id, pill);
      this.front.append(pill);
    }
    const where = entry.owned ? entry.owned.title : "nobody";
    const kind = !entry.owned ? "nobody" : entry.one.state === "MASTER" ? "MASTER" : "other";
    pill.setAttribute("class", `vip ${kind} ${chosen === entry.one.name ? "chosen" : ""}`);
    pill.setAttribute("transform", `translate(${x} ${y})`);
    pill.style.transform = `translate(${x}px, ${y}px)`;
    pill.setAttribute("aria-label", `${entry.vip}, instance ${entry.one.name}, owned by ${where}`);
    pill.dataset.owner = where;
    pill.children[0].setAttribute("width", width);
    pill.children[1].textContent = cut(entry.vip, width - 20);
    pill.children[2].textContent = cut(`${entry.one.name} · ${entry.one.interface || "unicast"} · VRID ${entry.one.vrid}`, width - 20);
  }
}

export function incidents(status) {
  const place = by("incidents");
  place.hidden = !status.incidents.length;
  place.replaceChildren(...status.incidents.map((one) => h("div", { role: "alert" },
    h("h2", { class: "bad" }, `Two masters: ${one.instance}`),
    h("p", {}, one.text), h("p", {}, h("strong", {}, "Cure: "), one.cure || "see the log"),
    h("p", { class: "quiet" }, `seen ${one.count} times, open for ${one.opened_s_ago} s`))));
}
