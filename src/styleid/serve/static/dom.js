// Make elements; texts are never read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

export function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, text);
}

// A select with a label before it. options: [value, text]; value: the chosen one.
export function choice(label, options, value, onchange, attributes = {}) {
  const select = el("select", { onchange: (event) => onchange(event.target.value), ...attributes },
    options.map(([name, text]) => el("option", { value: name, selected: name === value }, text)));
  return el("label", { class: "field" }, el("span", {}, label), select);
}

export function show(...children) {
  document.getElementById("main").replaceChildren(...children.filter(Boolean));
}

// kind: "error" where something went wrong.
export function say(text, kind = "") {
  const status = document.getElementById("status");
  status.textContent = text;
  status.className = kind;
}

// Put children into a place; those that are null are left out.
export function fill(place, ...children) {
  place.replaceChildren(...children.flat(2).filter(Boolean));
}
