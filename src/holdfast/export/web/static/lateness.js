// How late our own adverts leave, since the daemon was started: a bar a bucket, with its share of all.

import { h, s, by, tip } from "./draw.js";

const HEIGHT = 120, TOP = 14, BOTTOM = 20, GAP = 4;

const span = (seconds) => seconds < 1e-3 ? `${+(seconds * 1e6).toFixed(0)} µs` : seconds < 1 ? `${+(seconds * 1e3).toFixed(1)} ms` : `${seconds} s`;
const percent = (share) => share > 0 && share < 0.001 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`;

export function lateness(status) {
  const counted = (status.loops || []).map((one) => one.advert_lateness).find((one) => one);
  const total = counted ? counted.counts.reduce((sum, one) => sum + one, 0) : 0;
  by("late-section").hidden = !total;
  if (!total) return;
  const width = Math.max(280, by("late").clientWidth), one = width / counted.counts.length;
  const most = Math.max(...counted.counts), narrow = one < 48;
  const parts = counted.counts.map((count, index) => {
    const bound = counted.bounds_s[index], last = bound === undefined;
    const words = last ? `later than ${span(counted.bounds_s.at(-1))}` : `up to ${span(bound)} late`;
    const said = `${words}: ${count.toLocaleString()} adverts, ${percent(count / total)}`;
    const tall = count ? Math.max(3, count / most * (HEIGHT - TOP - BOTTOM)) : 0;
    const x = index * one + GAP / 2, y = HEIGHT - BOTTOM - tall;
    const grade = last || bound > 0.05 ? "bad" : bound > 0.01 ? "so" : "good";
    const bar = tip(s("g", { class: `late ${grade}`, tabindex: 0, role: "img", "aria-label": said },
      s("rect", { class: "hit", x, y: 0, width: one - GAP, height: HEIGHT - BOTTOM }),
      s("rect", { x, y, width: one - GAP, height: tall, rx: 2 })), said);
    const label = narrow && index % 3 ? null : s("text", { class: "soft", x, y: HEIGHT - 5 }, last ? "later" : span(bound));
    const share = count && !narrow ? s("text", { class: "soft", x, y: y - 3 }, percent(count / total)) : null;
    return [bar, label, share];
  });
  const focused = by("late").contains(document.activeElement) && [...by("late").querySelectorAll(".late")].indexOf(document.activeElement);
  by("late").replaceChildren(s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT }, parts.flat()),
    h("p", { class: "quiet" }, `${total.toLocaleString()} adverts, ${span(counted.sum_s / total)} late on average`));
  if (typeof focused === "number" && focused >= 0) by("late").querySelectorAll(".late")[focused].focus();
}
