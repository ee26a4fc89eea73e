// Elements from names, attributes and children. Text stays text: nothing the daemon says becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const by = (id) => document.getElementById(id);

export function clock(text, day = false) {
  const at = new Date(text);
  const time = at.toLocaleTimeString([], { hour12: false });
  return day || at.toDateString() !== new Date().toDateString() ? `${at.toLocaleDateString()} ${time}` : time;
}

export function ago(text, now) {
  const span = Math.max(0, (new Date(now) - new Date(text)) / 1000);
  if (span < 60) return `${Math.floor(span)} s`;
  if (span < 3600) return `${Math.floor(span / 60)} min`;
  if (span < 86400) return `${Math.floor(span / 3600)} h`;
  return `${Math.floor(span / 86400)} d`;
}

export function tip(element, text) {
  const box = by("tip");
  const show = (event) => {
    box.textContent = text;
    box.hidden = false;
    const place = element.getBoundingClientRect();
    const x = event && event.clientX ? event.clientX : place.left;
    box.style.left = `${Math.max(4, Math.min(x + 8, innerWidth - box.offsetWidth - 8))}px`;
    const above = place.top - box.offsetHeight - 8;
    box.style.top = `${above > 4 ? above : place.bottom + 8}px`;
  };
  const hide = () => { box.hidden = true; };
  element.addEventListener("pointerenter", show);
  element.addEventListener("focus", show);
  element.addEventListener("pointerleave", hide);
  element.addEventListener("blur", hide);
  return element;
}
