// One photo: before and after, its faces, and what is decided about them.

import { picture } from "./api.js";
import { overlay } from "./boxes.js";
import { button, choice, el, fill, say } from "./dom.js";
import { t, time } from "./strings.js";

const HIDE = ["solid", "blur", "pixelate"];
let divide = 50;

// place: where it goes. decide(method, path, body) sends a decision. Returns what is to be called when it goes.
export function photo(place, state, number, decide) {
  const { photos } = state.review;
  const index = photos.findIndex((one) => one.number === number);
  if (index < 0) {
    place.replaceChildren(el("p", {}, el("a", { href: `#/job/${state.id}` }, t("close"))));
    return () => {};
  }
  const one = photos[index];
  const wishes = plain(one.wishes);
  const save = () => decide("PATCH", `/photos/${number}`, wishes);
  const approve = () => {
    wishes.approved = !wishes.approved;
    save();
  };
  const go = (step) => {
    const other = photos[(index + step + photos.length) % photos.length];
    location.hash = `#/job/${state.id}/${other.number}`;
  };
  const old = place.querySelector(".stage");
  const stage = old?.dataset.photo === String(number) ? old : el("div", { class: "stage", "data-photo": number });
  const drawing = overlay(one, wishes, save);
  const draw = () => drawing.begin();

  fill(place,
    el("nav", { class: "actions", "aria-label": one.name },
      el("a", { class: "button", href: `#/job/${state.id}` }, t("close")),
      button("←", () => go(-1), { "aria-label": t("previous") }),
      button("→", () => go(1), { "aria-label": t("next") })),
    el("h2", { id: "photo-name" }, one.name),
    one.error ? el("p", { class: "warning" }, t("withheld", { reason: one.error })) : null,
    el("div", { class: "photo-view" },
      stage,
      el("aside", {},
        el("p", { class: "actions" },
          button(t(wishes.approved ? "unapprove" : "approve"), approve, { class: "primary", id: "approve" }),
          button(t("drawBox"), draw, { id: "draw" })),
        el("p", { class: "help" }, t("drawHelp")),
        one.faces.length === 0 ? el("p", {}, t("noFaces")) : null,
        el("ol", { class: "faces" }, faces(state, one, wishes, save, decide, drawing)),
        el("p", { class: "help" }, t("keys")))));
  pictures(stage, state, one, drawing).catch((error) => say(error.message, "error"));

  const keys = (event) => {
    if (event.target.closest("input, select, [data-box]") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") go(-1);
    else if (event.key === "ArrowRight") go(1);
    else if (event.key === "a") approve();
    else if (event.key === "u" && state.review.can_undo) decide("POST", "/undo");
    else if (event.key === "n") draw();
    else return;
    event.preventDefault();
  };
  document.addEventListener("keydown", keys);
  return () => document.removeEventListener("keydown", keys);
}

// The service says who decided and when; what is sent back has decisions alone.
function plain(wishes) {
  const bare = ({ by, at, ...rest }) => rest;
  return {
    faces: (wishes.faces ?? []).map(bare),
    add: (wishes.add ?? []).map(bare),
    remove: (wishes.remove ?? []).map((one) => one.box ?? one),
    approved: Boolean(wishes.approved),
  };
}

async function pictures(stage, state, one, drawing) {
  const path = `/v1/jobs/${state.id}/photos/${one.number}`;
  const before = await picture(`${path}/before`);
  const after = one.error ? null : await picture(`${path}/after?v=${one.version}`);
  const top = el("img", { src: before.url, alt: t("before"), class: "top" });
  const range = el("input", { type: "range", min: 0, max: 100, value: divide, "aria-label": t("compare"), id: "compare" });
  const cut = () => {
    divide = Number(range.value);
    top.style.clipPath = `inset(0 ${100 - divide}% 0 0)`;
    stage.style.setProperty("--divide", `${divide}%`);
  };
  range.addEventListener("input", cut);
  stage.style.setProperty("--ratio", `${before.width} / ${before.height}`);
  fill(stage,
    el("div", { class: "pictures" },
      after ? el("img", { src: after.url, alt: t("after") }) : null, top,
      drawing.draw(before.width, before.height)),
    after ? el("div", { class: "compare" }, el("span", { "aria-hidden": "true" }, t("before")), range, el("span", { "aria-hidden": "true" }, t("after"))) : null);
  cut();
  for (const image of stage.querySelectorAll("img")) image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
}

function faces(state, one, wishes, save, decide, drawing) {
  const photosOf = (person) => state.review.photos.filter((each) => each.faces.some((face) => face.person === person)).length;
  return one.faces.map((face, index) => {
    const name = face.decision?.added ? t("addedBox", { number: index + 1 }) : t("face", { number: index + 1 });
    const reasons = face.reasons.map((reason) => t(`risk_${reason}`)).join(", ");
    const who = face.decision?.by ? ` (${t("by", { by: face.decision.by, at: face.decision.at ? time(Date.parse(face.decision.at) / 1000) : "" })})` : "";
    const count = face.person === null ? 0 : photosOf(face.person);
    return el("li", { class: "card", onmouseenter: () => drawing.light(index), onmouseleave: () => drawing.light(-1) },
      el("strong", {}, name), el("p", { class: "help" }, t("now", { action: t(`action_${face.action}`) }) + who), reasons ? el("p", { class: face.risk >= 0.5 ? "why risky" : "why" }, reasons) : null,
      face.decision?.added ? added(face, index, wishes, save) : found(face, index, wishes, save),
      count > 1 ? person(state, face.person, count, index, decide) : null);
  });
}

function found(face, index, wishes, save) {
  const known = wishes.faces.find((wish) => same(wish.box, face.box));
  const gone = wishes.remove.some((box) => same(box, face.box));
  const value = gone ? "remove" : known ? known.do : "unset";
  const options = ["unset", "replace", "another", "keep", ...HIDE, "remove"].map((name) => [name, t(`do_${name}`)]);
  return choice(t("do"), options, value, (chosen) => {
    wishes.faces = wishes.faces.filter((wish) => !same(wish.box, face.box));
    wishes.remove = wishes.remove.filter((box) => !same(box, face.box));
    if (chosen === "remove") wishes.remove.push(face.box);
    else if (chosen === "another") wishes.faces.push({ box: face.box, do: "replace", target: (known?.target ?? 0) + 1 });
    else if (chosen !== "unset") wishes.faces.push({ box: face.box, do: chosen });
    save();
  }, { id: `do-${index}` });
}

function added(face, index, wishes, save) {
  const known = wishes.add.find((wish) => same(wish.box, face.box));
  const pick = choice(t("do"), HIDE.map((name) => [name, t(`do_${name}`)]), known?.do ?? "blur", (chosen) => {
    if (known) known.do = chosen;
    save();
  }, { id: `do-${index}` });
  return el("div", {}, pick, button(t("removeBox"), () => {
    wishes.add = wishes.add.filter((wish) => wish !== known);
    save();
  }));
}

function person(state, name, count, index, decide) {
  const wish = state.review.people[name];
  const options = ["unset", "keep", ...HIDE].map((one) => [one, t(`do_${one}`)]);
  return choice(t("person", { count }), options, wish?.do ?? "unset", (chosen) =>
    decide("PATCH", `/people/${name}`, { do: chosen === "unset" ? null : chosen }), { id: `person-${index}` });
}

export function same(one, other) {
  return one.every((value, index) => Math.abs(value - other[index]) < 0.6);
}
