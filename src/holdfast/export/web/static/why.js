// Why the chosen one is as it is, and what would change that.

import { h, by } from "./draw.js";

const tree = (reasons) => h("ul", {}, reasons.map((one) => h("li", {}, one.text, one.because.length ? tree(one.because) : null)));

function told(one) {
  const parts = [["Why it is", one.reasons], ["Why it does not take over", one.against], ["What would change it", one.changes],
    ["Worth knowing", one.warnings]];
  return parts.filter(([, reasons]) => reasons.length).map(([title, reasons]) => [h("h3", {}, title), tree(reasons)]).flat();
}

export async function why(name) {
  const section = by("why-section");
  if (!name) { section.hidden = true; return; }
  const answer = await fetch(`/api/why?${new URLSearchParams({ name })}`, { cache: "no-store" });
  const said = await answer.json();
  by("why-title").textContent = `Why is ${name} ${said.state || ""}`.trim() + "?";
  by("why").replaceChildren(...(answer.ok ? (said.members || [said]).flatMap(told) : [h("p", { class: "bad" }, said.error)]));
  section.hidden = false;
}
