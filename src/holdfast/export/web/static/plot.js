// How regularly adverts come: a curve an instance, and what its interval promises.

import { h, s, by } from "./draw.js";

const HEIGHT = 150, LEFT = 44, BOTTOM = 20, CURVES = 6;

export function plot(series, chosen) {
  const names = chosen && series[chosen] ? [chosen] : Object.keys(series).slice(0, CURVES);
  const width = Math.max(280, by("adverts").clientWidth), now = Date.now() / 1000;
  const all = names.flatMap((name) => series[name]);
  const oldest = Math.min(now, ...all.map((one) => one[0]));
  const span = Math.min(300, Math.max(30, (now - oldest) * 1.1));
  const top = Math.max(0.1, ...all.map((one) => Math.max(one[1], one[2]))) * 1.15;
  const x = (at) => LEFT + Math.max(0, (at - now + span) / span) * (width - LEFT - 8);
  const y = (value) => 8 + (1 - value / top) * (HEIGHT - BOTTOM - 8);
  const line = (points) => points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
  const legend = [];
  const parts = [0, top / 2, top].map((value) => [
    s("line", { class: "grid", x1: LEFT, x2: width, y1: y(value), y2: y(value) }),
    s("text", { class: "soft", x: 0, y: y(value) + 4 }, value < 10 ? value.toFixed(1) : value.toFixed(0))]).flat();
  parts.push(s("text", { class: "soft", x: LEFT, y: HEIGHT - 4 }, `${Math.round(span)} s ago`),
    s("text", { class: "soft", x: width - 28, y: HEIGHT - 4 }, "now"));
  names.forEach((name, index) => {
    parts.push(s("polyline", { class: "promise", points: line(series[name].map((one) => [one[0], one[2]])) }));
    parts.push(s("polyline", { class: `curve hue${index}`, points: line(series[name].map((one) => [one[0], one[1]])) }));
    const last = series[name].at(-1);
    legend.push(h("span", { class: `key key${index}` }, `${name} ${last ? last[1].toFixed(2) : "—"}/s`));
  });
  by("adverts").replaceChildren(s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img",
    "aria-label": names.map((name) => `${name}: ${series[name].at(-1)?.[1] ?? 0} adverts a second`).join("; ") || "nothing counted yet" }, parts), h("p", { class: "quiet" }, legend));
}
