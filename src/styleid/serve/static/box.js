// One box over a picture, moved and resized with the pointer or the keyboard.

import { svg } from "./dom.js";

const LEAST_PX = 8;

// box: [x0, y0, x1, y1] in pixels of the picture, changed in place. size: width and height of the picture.
// attributes: of the group. changed is called after each change, dropped for the Delete key.
// Returns the group, the box, and place, which draws it anew.
export function movable(box, size, attributes, changed, dropped) {
  const rect = svg("rect", {});
  const grip = svg("rect", { class: "grip" });
  const group = svg("g", { tabindex: "0", role: "button", ...attributes }, rect, grip);
  const place = () => {
    const [x0, y0, x1, y1] = box;
    const side = Math.max(size.width, size.height) / 60;
    set(rect, { x: x0, y: y0, width: x1 - x0, height: y1 - y0 });
    set(grip, { x: x1 - side, y: y1 - side, width: side, height: side });
  };
  const move = (dx, dy, resize) => {
    if (!resize) {
      box[0] += dx;
      box[1] += dy;
    }
    box[2] += dx;
    box[3] += dy;
    clamp(box, size);
    place();
  };
  group.addEventListener("keydown", (event) => {
    const step = Math.max(size.width, size.height) / 100;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (event.key === "Delete") dropped();
    else if (by) {
      move(...by, event.shiftKey);
      changed();
    } else return;
    event.preventDefault();
  });
  group.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    group.focus();
    group.setPointerCapture(event.pointerId);
    let last = at(group, event);
    let moved = false;
    const drag = (next) => {
      const now = at(group, next);
      moved = true;
      move(now[0] - last[0], now[1] - last[1], event.target === grip);
      last = now;
    };
    group.addEventListener("pointermove", drag);
    group.addEventListener("pointerup", () => {
      group.removeEventListener("pointermove", drag);
      if (moved) changed();
    }, { once: true });
  });
  place();
  return { group, box, place };
}

// Where an event is, in pixels of the picture that an element of the overlay lies over.
export function at(element, event) {
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(element.getScreenCTM().inverse());
  return [x, y];
}

// Keeps a box inside the picture, and at least 8 px wide and high.
export function clamp(box, size) {
  const width = Math.min(Math.max(box[2] - box[0], LEAST_PX), size.width);
  const height = Math.min(Math.max(box[3] - box[1], LEAST_PX), size.height);
  box[0] = Math.min(Math.max(box[0], 0), size.width - width);
  box[1] = Math.min(Math.max(box[1], 0), size.height - height);
  box[2] = box[0] + width;
  box[3] = box[1] + height;
}

// A box of a sixth of the picture's shorter side, in its middle.
export function middle({ width, height }) {
  const half = Math.min(width, height) / 12;
  return [width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half];
}

function set(element, values) {
  for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
}
