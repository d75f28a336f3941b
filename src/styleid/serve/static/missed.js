// A missed face in a video: a person puts a box on it at several times, and the service joins these places by
// straight lines.

import { clamp, middle, movable } from "./box.js";
import { button, choice, el, fill, say, svg } from "./dom.js";
import { clock, t } from "./strings.js";

const HIDE = ["solid", "blur", "pixelate"];

// stage: the players. one: the video. Returns the panel below them; begin, which shows a box; and save, which the
// caller sets and which is called with the new track.
export function missed(stage, one) {
  const tool = { panel: el("section", { class: "missed", "aria-label": t("drawBox") }), begin, save: () => {} };
  const places = new Map(); // boxes by frame
  let open = null; // what belongs to the box that is shown
  let how = "blur";

  function begin() {
    if (open) {
      open.shape.group.focus();
      return;
    }
    const film = [...stage.querySelectorAll("video")].find((each) => each.videoWidth > 0);
    if (!film) {
      say(t("missedUnplayable"), "error");
      return;
    }
    film.pause();
    const size = { width: film.videoWidth, height: film.videoHeight };
    const box = middle(size);
    const shape = movable(box, size, { class: "box added", "data-box": 0, "aria-label": t("missedBox") }, put, drop);
    const layer = svg("svg", { class: "boxes", viewBox: `0 0 ${size.width} ${size.height}`, role: "group", "aria-label": t("missedBox") }, shape.group);
    film.after(layer);
    const time = el("input", { type: "range", id: "missed-time", min: 0, max: Math.max(one.frames - 1, 0), step: 1,
      "aria-label": t("missedTime"), oninput: () => { film.currentTime = seconds(Number(time.value)); } });
    const list = el("ul", { class: "actions", "aria-label": t("missedPlaces") });
    const send = button(t("missedSave"), finish, { class: "primary", id: "missed-save" });
    open = { film, layer, shape, box, size, time, list, send };
    for (const name of ["timeupdate", "seeked"]) film.addEventListener(name, follow);
    fill(tool.panel, el("div", { class: "card" },
      el("p", { class: "help" }, t("missedHelp")),
      el("label", { class: "field" }, el("span", {}, t("missedTime")), time),
      list,
      choice(t("do"), HIDE.map((name) => [name, t(`do_${name}`)]), how, (chosen) => { how = chosen; }, { id: "missed-do" }),
      el("div", { class: "actions" }, send, button(t("missedCancel"), end, { id: "missed-cancel" }))));
    follow();
    shape.group.focus();
  }

  const rate = () => one.frames / Math.max(one.seconds, 0.001);
  const frame = () => Math.min(Math.max(Math.floor(open.film.currentTime * rate() + 0.01), 0), Math.max(one.frames - 1, 0));
  const seconds = (number) => (number + 0.5) / rate(); // the middle of a frame, so that rounding cannot show another one

  function put() {
    places.set(frame(), [...open.box]);
    tell();
  }

  function drop() {
    places.delete(frame());
    if (places.size) follow();
    else end();
  }

  // The box goes where the face is hidden at the time that the video shows.
  function follow() {
    open.time.value = frame();
    if (places.size) {
      open.box.splice(0, 4, ...between(places, frame()));
      clamp(open.box, open.size);
      open.shape.place();
    }
    tell();
  }

  function tell() {
    const enough = places.size >= Math.min(2, one.frames);
    open.send.disabled = !enough;
    fill(open.list, [...places.keys()].sort((a, b) => a - b).map((number) => el("li", {},
      button(t("missedGo", { time: clock(number / rate()) }), () => { open.film.currentTime = seconds(number); }),
      button("×", () => {
        places.delete(number);
        follow();
      }, { "aria-label": t("missedRemove", { time: clock(number / rate()) }) }))),
    enough ? null : el("li", { class: "help" }, t("missedTwo")));
  }

  // The service counts in pixels of the decoded video, which the browser may show in another size.
  function finish() {
    const scale = [one.width / open.size.width, one.height / open.size.height];
    const keys = [...places].sort(([a], [b]) => a - b).map(([number, box]) =>
      [number, ...box.map((value, index) => Math.round(10 * value * scale[index % 2]) / 10)]);
    end();
    tool.save({ keys, do: how });
  }

  function end() {
    for (const name of ["timeupdate", "seeked"]) open.film.removeEventListener(name, follow);
    open.layer.remove();
    fill(tool.panel);
    places.clear();
    open = null;
    document.getElementById("draw")?.focus();
  }

  return tool;
}

// The box at a frame: on the line between its neighbours, before the first place and after the last as there.
function between(places, number) {
  const frames = [...places.keys()].sort((a, b) => a - b);
  const after = frames.find((each) => each >= number) ?? frames.at(-1);
  const before = frames.findLast((each) => each <= number) ?? frames[0];
  const share = after > before ? (number - before) / (after - before) : 0;
  return places.get(before).map((value, index) => value + share * (places.get(after)[index] - value));
}
