// Instances, virtual servers and trackers as tables; on a phone each row becomes a card.

import { h, by, ago, tip } from "./draw.js";

const cell = (label, ...children) => h("td", { "data-label": label || null }, ...children);

function table(heads, rows) {
  return h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, rows));
}

export function instances(status, chosen, choose, command) {
  const heads = ["State", "Instance", "Priority", "Master", "Since", "Why, and what next"];
  if (command) heads.push("Commands");
  by("instances-section").hidden = !status.instances.length;
  by("instances").replaceChildren(table(heads, status.instances.slice(0, 500).map((one) => {
    const priority = one.effective_priority === one.priority ? `${one.priority}` : `${one.effective_priority} of ${one.priority}`;
    const master = one.state === "MASTER" ? "this host" : one.master ? `${one.master.address} (${one.master.priority})` : "—";
    const why = [one.cause, ...one.faults, one.next && `next: ${one.next}`, one.held && `held by ${one.held.by}`];
    const row = h("tr", { class: one.name === chosen ? "chosen" : "", "data-instance": one.name },
      cell("", h("span", { class: `word ${one.state}` }, one.state)),
      cell("", h("button", { class: "name", type: "button", onclick: () => choose(one.name) }, one.name)),
      cell("Priority", priority), cell("Master", master), cell("Since", ago(one.since, status.time)),
      cell("Why", why.filter(Boolean).join("; ")));
    if (command) {
      const away = one.state === "MASTER";
      row.append(cell("", h("button", { type: "button",
        onclick: () => command("switch", { instance: one.name, direction: away ? "away" : "here" }) },
        away ? "Hand over" : "Take over"), " ",
        one.held ? h("button", { type: "button", onclick: () => command("release", { instance: one.name }) }, "Release") : null));
    }
    return row;
  })));
}

export function services(status, chosen, choose, command) {
  const all = status.virtual_servers || [];
  by("services-section").hidden = !all.length;
  by("services").replaceChildren(...all.slice(0, 100).map((one) => h("div", {},
    h("h3", {}, h("button", { class: "name", type: "button", onclick: () => choose(one.name) }, one.name), " ", h("span", { class: `word ${one.quorum_met ? "good" : "bad"}` },
      one.suspended ? "suspended" : one.quorum_met ? "quorum met" : "no quorum"),
      ` ${one.protocol} ${one.forwarding} ${one.scheduler}`),
    table(["State", "Server", "Weight", "Connections", "Checks"], one.real_servers.slice(0, 200).map((server) => {
      const label = server.label || `${server.address}:${server.port}`;
      const checks = server.checks.map((check) => {
        const word = check.ok === null ? "?" : check.ok ? "✓" : "✗";
        return tip(h("span", { tabindex: 0, class: check.ok === false ? "bad" : check.ok ? "good" : "" },
          `${word} ${check.kind} `), `${check.kind}: ${check.detail || "not made yet"}`);
      });
      const weight = server.effective_weight === server.weight ? `${server.weight}` : `${server.effective_weight} of ${server.weight}`;
      const held = server.held_weight !== null && server.held_weight !== undefined;
      const counts = server.connections || {};
      return h("tr", {}, cell("", h("span", { class: `word ${server.state}` }, server.state)), cell("", label),
        cell("Weight", weight), cell("Connections", `${counts.active ?? 0}`), cell("Checks", checks,
          command ? h("button", { type: "button", onclick: () => command("server",
            { service: one.name, server: label, weight: held ? null : 0 }) }, held ? "Enable" : "Drain") : null));
    })),
    one.sorry_server ? h("p", { class: "quiet" }, `Sorry server ${one.sorry_server.address}:${one.sorry_server.port}` +
      (one.sorry_server.active ? ", serving now" : "")) : null)));
}

export function trackers(status) {
  by("trackers-section").hidden = !status.trackers.length;
  by("trackers").replaceChildren(table(["Verdict", "Tracker", "Weight", "Last result"], status.trackers.slice(0, 300).map((one) =>
    h("tr", {}, cell("", h("span", { class: `word ${one.up === null ? "INIT" : one.up ? "up" : "down"}` },
      one.up === null ? "unknown" : one.up ? "up" : "down")),
      cell("", `${one.kind} ${one.name}`), cell("Weight", `${one.weight}`), cell("Last", one.detail)))));
}

export function bfd(status) {
  const all = status.bfd || [];
  by("bfd-section").hidden = !all.length;
  by("bfd").replaceChildren(table(["State", "Session", "Neighbour", "Since", "Detects after", "Diagnostic"], all.slice(0, 300).map((one) =>
    h("tr", {}, cell("", h("span", { class: `word ${one.up ? "up" : "down"}` }, one.state)), cell("", one.name),
      cell("Neighbour", one.neighbor), cell("Since", ago(one.since, status.time)), cell("Detects after", `${one.detection_ms} ms`),
      cell("Diagnostic", one.trouble || one.diagnostic)))));
}
