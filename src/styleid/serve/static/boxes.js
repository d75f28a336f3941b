// The boxes over a photo: drawn, moved and resized with the pointer or the keyboard.

import { at, clamp, middle, movable } from "./box.js";
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
    one.faces.forEach((face, index) => root.append(shape(face, index).group));
    return root;
  };

  const shape = (face, index) => {
    const kind = face.decision?.added ? "added" : face.action;
    const name = t(face.decision?.added ? "addedBox" : "face", { number: index + 1 });
    const box = [...face.box];
    const changed = () => {
      record(face, box);
      later();
    };
    const dropped = () => {
      drop(face);
      save();
    };
    const label = `${name}: ${t(`action_${face.action}`)}`;
    return movable(box, size, { class: `box ${kind}`, "data-box": index, "aria-label": label }, changed, dropped);
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

  // Begins a new box: in the middle, for the keyboard, or wherever the pointer is dragged.
  const begin = () => {
    if (root === null) return;
    const face = { box: middle(size), action: "obscured", decision: { added: true }, fresh: true };
    const { group } = shape(face, one.faces.length);
    root.append(group);
    group.focus();
    root.classList.add("drawing");
    root.addEventListener("pointerdown", (event) => {
      if (event.target !== root) return;
      event.preventDefault();
      group.remove();
      const [x, y] = at(root, event);
      const drawing = { ...face, box: [x, y, x + 1, y + 1] };
      const drawn = shape(drawing, one.faces.length);
      root.append(drawn.group);
      root.setPointerCapture(event.pointerId);
      const drag = (next) => {
        const now = at(root, next);
        drawn.box.splice(0, 4, Math.min(x, now[0]), Math.min(y, now[1]), Math.max(x, now[0]), Math.max(y, now[1]));
        drawn.place();
      };
      root.addEventListener("pointermove", drag);
      root.addEventListener("pointerup", () => {
        root.removeEventListener("pointermove", drag);
        root.classList.remove("drawing");
        clamp(drawn.box, size);
        drawing.box = [...drawn.box];
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

function near(one, other) {
  return one.every((value, index) => Math.abs(value - other[index]) < 0.6);
}
