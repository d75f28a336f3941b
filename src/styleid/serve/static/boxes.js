// The boxes over a photo: drawn, moved and resized with the pointer or the keyboard.

import { svg } from "./dom.js";
import { t } from "./strings.js";

const WAIT_MS = 900;

// one: the photo. wishes: the decisions about it, which are changed; save sends them.
export function overlay(one, wishes, save) {
  let size = { width: 1, height: 1 };
  let root = null;
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(save, WAIT_MS);
  };

  const draw = (width, height) => {
    size = { width, height };
    root = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "boxes", preserveAspectRatio: "none", role: "group", "aria-label": one.name });
    one.faces.forEach((face, index) => root.append(shape(face, index)));
    return root;
  };

  const shape = (face, index) => {
    const kind = face.decision?.added ? "added" : face.action;
    const name = t(face.decision?.added ? "addedBox" : "face", { number: index + 1 });
    const group = svg("g", { class: `box ${kind}`, tabindex: "0", role: "button", "data-box": index,
      "aria-label": `${name}: ${t(`action_${face.action}`)}` });
    const rect = svg("rect", {});
    const grip = svg("rect", { class: "grip" });
    group.append(rect, grip);
    const box = [...face.box];
    const place = () => {
      const [x0, y0, x1, y1] = box;
      const side = Math.max(size.width, size.height) / 60;
      attributes(rect, { x: x0, y: y0, width: x1 - x0, height: y1 - y0 });
      attributes(grip, { x: x1 - side, y: y1 - side, width: side, height: side });
    };
    const changed = () => {
      clamp(box, size);
      place();
      record(face, box);
      later();
    };
    place();
    group.addEventListener("keydown", (event) => {
      const step = Math.max(size.width, size.height) / 100;
      const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
      if (event.key === "Delete") {
        drop(face);
        save();
      } else if (dx || dy) {
        if (!event.shiftKey) { box[0] += dx; box[1] += dy; }
        box[2] += dx;
        box[3] += dy;
        changed();
      } else return;
      event.preventDefault();
    });
    pointer(group, (dx, dy, onGrip) => {
      if (!onGrip) { box[0] += dx; box[1] += dy; }
      box[2] += dx;
      box[3] += dy;
      clamp(box, size);
      place();
    }, changed, grip);
    return group;
  };

  // A found box that is moved was wrong: what it held is no face, and the new place is hidden.
  const record = (face, box) => {
    drop(face);
    const wish = { box: box.map((value) => Math.round(value * 10) / 10), do: face.hidden ?? "blur" };
    wishes.add.push(wish);
    face.moved = wish;
  };
  const drop = (face) => {
    if (face.moved) wishes.add = wishes.add.filter((wish) => wish !== face.moved);
    if (face.decision?.added) {
      const own = wishes.add.find((wish) => near(wish.box, face.box));
      face.hidden = own?.do ?? face.hidden;
      wishes.add = wishes.add.filter((wish) => wish !== own);
    } else if (!face.fresh && !wishes.remove.some((box) => near(box, face.box))) {
      wishes.faces = wishes.faces.filter((wish) => !near(wish.box, face.box));
      wishes.remove.push(face.box);
    }
  };

  const at = (event) => {
    const frame = root.getBoundingClientRect();
    return [(event.clientX - frame.left) / frame.width * size.width, (event.clientY - frame.top) / frame.height * size.height];
  };
  const pointer = (group, move, end, grip) => {
    group.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      group.focus();
      group.setPointerCapture(event.pointerId);
      let last = at(event);
      let moved = false;
      const onGrip = event.target === grip;
      const drag = (next) => {
        const now = at(next);
        moved = true;
        move(now[0] - last[0], now[1] - last[1], onGrip);
        last = now;
      };
      group.addEventListener("pointermove", drag);
      group.addEventListener("pointerup", () => {
        group.removeEventListener("pointermove", drag);
        if (moved) end();
      }, { once: true });
    });
  };

  // Begins a new box: in the middle, for the keyboard, or wherever the pointer is dragged.
  const begin = () => {
    if (root === null) return;
    const side = Math.min(size.width, size.height) / 6;
    const face = { box: [size.width / 2 - side / 2, size.height / 2 - side / 2, size.width / 2 + side / 2, size.height / 2 + side / 2],
      action: "obscured", decision: { added: true }, fresh: true };
    const group = shape(face, one.faces.length);
    root.append(group);
    group.focus();
    root.classList.add("drawing");
    root.addEventListener("pointerdown", (event) => {
      if (event.target !== root) return;
      event.preventDefault();
      group.remove();
      const [x, y] = at(event);
      const drawn = { ...face, box: [x, y, x + 1, y + 1] };
      const fresh = shape(drawn, one.faces.length);
      root.append(fresh);
      root.setPointerCapture(event.pointerId);
      const drag = (next) => {
        const now = at(next);
        drawn.box = [Math.min(x, now[0]), Math.min(y, now[1]), Math.max(x, now[0]), Math.max(y, now[1])];
        attributes(fresh.firstChild, { x: drawn.box[0], y: drawn.box[1], width: drawn.box[2] - drawn.box[0], height: drawn.box[3] - drawn.box[1] });
      };
      root.addEventListener("pointermove", drag);
      root.addEventListener("pointerup", () => {
        root.removeEventListener("pointermove", drag);
        root.classList.remove("drawing");
        clamp(drawn.box, size);
        wishes.add.push({ box: drawn.box.map((value) => Math.round(value * 10) / 10), do: "blur" });
        save();
      }, { once: true });
    }, { once: true });
  };

  const light = (index) => {
    root?.querySelectorAll("[data-box]").forEach((group) => group.classList.toggle("lit", Number(group.dataset.box) === index));
  };
  return { draw, begin, light };
}

function attributes(element, values) {
  for (const [name, value] of Object.entries(values)) element.setAttribute(name, value);
}

function clamp(box, size) {
  const width = Math.min(Math.max(box[2] - box[0], 8), size.width);
  const height = Math.min(Math.max(box[3] - box[1], 8), size.height);
  box[0] = Math.min(Math.max(box[0], 0), size.width - width);
  box[1] = Math.min(Math.max(box[1], 0), size.height - height);
  box[2] = box[0] + width;
  box[3] = box[1] + height;
}

function near(one, other) {
  return one.every((value, index) => Math.abs(value - other[index]) < 0.6);
}
