// Fetches what the daemon says whenever it says that there is something new, and draws it.

import { by } from "./draw.js";
import { Picture, incidents } from "./picture.js";
import { bfd, instances, services, trackers } from "./tables.js";
import { Timeline } from "./timeline.js";
import { lateness } from "./lateness.js";
import { plot } from "./plot.js";
import { why } from "./why.js";

let status = null, series = {}, chosen = "", token = "", busy = false, again = false;

function choose(name) {
  chosen = chosen === name ? "" : name;
  by("filter").hidden = !chosen;
  by("filter").textContent = chosen ? `${chosen} only ✕` : "";
  timeline.only(chosen);
  draw();
  why(chosen);
}

const picture = new Picture(choose);
const timeline = new Timeline();

async function get(path) {
  const answer = await fetch(path, { cache: "no-store" }).catch(() => { throw new Error("nobody answers here"); });
  const said = await answer.json();
  if (!answer.ok) throw new Error(`${said.error || `status ${answer.status}`}${said.cure ? `; ${said.cure}` : ""}`);
  return said;
}

async function command(name, body) {
  try {
    const answer = await fetch(`/api/${name}`, { method: "POST", body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` } });
    const said = await answer.json();
    if (answer.status === 401) token = "";
    if (said.error) tell(`${said.error}${said.cure ? `; ${said.cure}` : ""}`, "bad");
  } catch (failed) {
    tell(`${name} failed: ${failed.message}`, "bad");
  }
  refresh();
}

function tell(text, kind) {
  by("verdict").textContent = text;
  by("verdict").className = kind;
}

function verdict() {
  const all = status.instances, count = (word) => all.filter((one) => one.state === word).length;
  if (status.incidents.length) return tell(`Two masters: ${status.incidents.map((one) => one.instance).join(", ")}`, "bad");
  const nobody = all.filter((one) => one.state !== "MASTER" && !one.master);
  const faults = count("FAULT"), quorums = (status.virtual_servers || []).filter((one) => !one.quorum_met && !one.suspended).length;
  const parts = [`master of ${count("MASTER")} of ${all.length}`];
  if (faults) parts.push(`${faults} in FAULT`);
  if (nobody.length) parts.push(`no master known of ${nobody.length}`);
  if (quorums) parts.push(`${quorums} without quorum`);
  tell(parts.join(", "), faults || nobody.length || quorums ? "bad" : count("MASTER") ? "good" : "so");
}

function draw() {
  if (!status) return;
  by("node").textContent = `${status.node}`;
  document.title = `${status.node}: holdfast`;
  const carry = token ? command : null;
  incidents(status);
  picture.draw(status, chosen);
  const focus = document.activeElement?.closest?.("[data-instance]")?.dataset.instance;
  instances(status, chosen, choose, carry);
  if (focus) document.querySelector(`[data-instance="${CSS.escape(focus)}"] button`)?.focus();
  services(status, chosen, choose, carry);
  trackers(status);
  bfd(status);
  plot(series, chosen);
  lateness(status);
}

async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    status = await get("/api/status");
    verdict();
    draw();
    timeline.take(await get("/api/events?limit=1000"));
    series = await get("/api/adverts");
    plot(series, chosen);
    await why(chosen);
  } catch (failed) {
    tell(failed.message, "bad");
  }
  busy = false;
  if (again) { again = false; refresh(); }
}

function live() {
  const source = new EventSource("/api/live");
  source.onopen = () => { by("link").textContent = "live"; };
  source.onmessage = () => { by("link").textContent = `live, ${new Date().toLocaleTimeString([], { hour12: false })}`; refresh(); };
  source.onerror = () => {
    by("link").textContent = "not connected, trying again";
    if (source.readyState === EventSource.CLOSED) setTimeout(live, 3000);
  };
}

function theme(next) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const kept = next ?? localStorage.getItem("theme") ?? "system";
  if (next) localStorage.setItem("theme", next);
  document.documentElement.dataset.theme = kept === "system" ? (dark.matches ? "dark" : "light") : kept;
  document.documentElement.dataset.kept = kept;
  by("theme").title = `colours: ${kept}`;
}

theme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme());
by("theme").onclick = () => theme({ system: "dark", dark: "light", light: "system" }[document.documentElement.dataset.kept]);
by("filter").onclick = () => choose(chosen);
by("token").onclick = () => by("ask").showModal();
by("ask-ok").onclick = () => { token = by("ask-token").value; by("ask").close(); draw(); };
by("ask-no").onclick = () => { token = ""; by("ask-token").value = ""; by("ask").close(); draw(); };
by("ask-token").onkeydown = (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault(); // else the button that gets the focus back is pressed by the same key
  by("ask-ok").click();
};
addEventListener("resize", () => { draw(); timeline.draw(); });
live();
refresh();
