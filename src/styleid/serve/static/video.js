// One video: before and after side by side, its tracks on a timeline, and what is decided about them.

import { button, choice, el, fill, svg } from "./dom.js";
import { missed } from "./missed.js";
import { clock, t, time } from "./strings.js";

const HIDE = ["solid", "blur", "pixelate"];
const TILE_PX = 112;

// place: where it goes. decide(method, path, body) sends a decision. Returns what is to be called when it goes.
export function video(place, state, number, decide) {
  const one = state.review.videos.find((each) => each.number === number);
  if (!one) {
    fill(place, el("p", { class: "card" }, t("videoNotDone")), el("p", {}, el("a", { href: `#/job/${state.id}` }, t("close"))));
    return () => {};
  }
  const wishes = plain(one.wishes);
  const save = () => decide("PATCH", `/videos/${number}`, wishes);
  const approve = () => {
    wishes.approved = !wishes.approved;
    save();
  };
  const path = `/v1/jobs/${state.id}/videos/${number}`;
  const old = place.querySelector(".players");
  const stage = old?.dataset.version === `${number} ${one.version}` ? old : players(path, one);
  stage.missed ??= missed(stage, one);
  stage.missed.save = (track) => {
    wishes.add.push(track);
    save();
  };
  const seek = (seconds) => {
    for (const each of stage.querySelectorAll("video")) each.currentTime = seconds;
  };

  fill(place,
    el("nav", { class: "actions", "aria-label": one.name },
      el("a", { class: "button", href: `#/job/${state.id}` }, t("close")),
      button(t(wishes.approved ? "unapproveVideo" : "approveVideo"), approve, { class: "primary", id: "approve" }),
      one.error ? null : button(t("drawBox"), stage.missed.begin, { id: "draw" })),
    el("h2", { id: "photo-name" }, one.name),
    one.error ? el("p", { class: "warning" }, t("withheld", { reason: one.error })) :
      el("p", { class: "help" }, t("videoFacts", { seconds: clock(one.seconds), tracks: one.tracks.length,
        people: new Set(one.tracks.map((track) => track.person)).size })),
    one.error ? null : stage,
    one.error ? null : stage.missed.panel,
    one.error ? null : el("section", { "aria-labelledby": "tracks-title" },
      el("h2", { id: "tracks-title" }, t("tracks")),
      el("p", { class: "help" }, t("tracksHelp")),
      one.tracks.length ? legend() : el("p", { class: "card" }, t("noFacesVideo")),
      el("ol", { class: "tracks" }, one.tracks.map((track) => row(path, one, track, wishes, save, seek))),
      el("p", { class: "help" }, t("keysVideo"))));

  const tick = () => marks(place, stage.querySelector("video")?.currentTime ?? 0, one.seconds);
  for (const each of stage.querySelectorAll("video")) each.ontimeupdate = tick;
  tick();
  const keys = (event) => {
    if (event.target.closest("input, select, video, [data-box]") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "a") approve();
    else if (event.key === "u" && state.review.can_undo) decide("POST", "/undo");
    else if (event.key === "n" && !one.error) stage.missed.begin();
    else return;
    event.preventDefault();
  };
  document.addEventListener("keydown", keys);
  return () => document.removeEventListener("keydown", keys);
}

// The service says who decided and when; what is sent back has decisions alone.
function plain(wishes) {
  const rows = (name, key) => Object.entries(wishes[name] ?? {}).map(([number, { by, at, ...rest }]) => ({ [key]: Number(number), ...rest }));
  return {
    tracks: rows("tracks", "track"),
    people: rows("people", "person"),
    add: (wishes.add ?? []).map(({ by, at, ...rest }) => rest),
    approved: Boolean(wishes.approved),
  };
}

// Two players that go together: what is done to one is done to the other.
function players(path, one) {
  const made = ["before", "after"].map((side) => {
    const source = side === "after" ? `${path}/after?v=${one.version}` : `${path}/before`;
    const film = el("video", { src: source, controls: true, muted: true, playsinline: true, preload: "auto", "aria-label": t(side === "after" ? "playAfter" : "playBefore") });
    const figure = el("figure", {}, el("figcaption", {}, t(side === "after" ? "result" : "original")), el("div", { class: "film" }, film));
    film.addEventListener("error", () => film.replaceWith(el("p", { class: "card unplayable" }, t(side === "after" ? "unplayableAfter" : "unplayable"))));
    return [film, figure];
  });
  const [before, after] = made.map(([film]) => film);
  const pair = (from, to) => {
    from.addEventListener("play", () => { if (to.paused) to.play().catch(() => {}); });
    from.addEventListener("pause", () => { if (!to.paused && !from.ended) to.pause(); });
    from.addEventListener("seeked", () => { if (Math.abs(to.currentTime - from.currentTime) > 0.1) to.currentTime = from.currentTime; });
  };
  pair(before, after);
  pair(after, before);
  return el("div", { class: "players", "data-version": `${one.number} ${one.version}` }, made.map(([, figure]) => figure));
}

function legend() {
  return el("ul", { class: "legend", "aria-hidden": "true" },
    ["anonymised", "obscured", "kept"].map((name) => el("li", {}, svg("svg", { class: "swatch", viewBox: "0 0 10 10" }, svg("rect", { class: `bar ${name}`, width: 10, height: 10 })), t(`action_${name}`))));
}

function row(path, one, track, wishes, save, seek) {
  const name = t("track", { number: track.track });
  const reasons = track.reasons.map((reason) => t(`risk_${reason}`)).join(", ");
  const stretches = [...new Set(track.hidden.filter((each) => each.reason).map((each) =>
    `${clock(each.from_s)} – ${clock(each.to_s)}: ${each.reason}`))];
  const who = track.decision?.by ? ` (${t("by", { by: track.decision.by, at: track.decision.at ? time(Date.parse(track.decision.at) / 1000) : "" })})` : "";
  const others = one.tracks.filter((each) => each.person === track.person).length;
  return el("li", { class: "card track", id: `track-${track.track}` },
    el("div", { class: "track-head" },
      el("h3", {}, name),
      el("span", { class: "tag-person" }, t("trackPerson", { person: track.person })),
      el("span", { class: "help" }, `${clock(track.from_s)} – ${clock(track.to_s)}`),
      button(t("showTrack"), () => seek(track.from_s), { class: "quiet", "aria-label": t("showTrackLabel", { number: track.track }) })),
    lane(one, track, seek),
    el("div", { class: "track-body" },
      el("div", { class: "strips" }, track.added ? null : strip(`${path}/tracks/${track.track}/before`, t("original"), name),
        track.action === "kept" ? el("p", { class: "help" }, t("sameAsOriginal")) :
          strip(`${path}/tracks/${track.track}/after?v=${one.version}`, t("result"), name)),
      el("div", { class: "track-do" },
        el("p", {}, t("now", { action: said(track) }) + who),
        reasons ? el("p", { class: "why risky" }, reasons) : null,
        stretches.length ? el("details", {}, el("summary", {}, t("whyHidden")), el("ul", { class: "help" }, stretches.map((text) => el("li", {}, text)))) : null,
        track.added ? remove(track, one, wishes, save) : found(track, wishes, save, others),
        others > 1 && !track.added ? person(track, wishes, save, others) : null)));
}

function said(track) {
  if (track.action === "anonymised" && track.obscured) return t("partlyHidden", { hidden: track.obscured, frames: track.obscured + track.anonymised });
  return t(`action_${track.action}`);
}

// A track's place in the video; a click goes there. The button beside it does the same by keyboard.
function lane(one, track, seek) {
  const length = Math.max(one.seconds, 0.001);
  const bar = (from, to, kind, title) => svg("rect", { x: 1000 * from / length, width: Math.max(1000 * (to - from) / length, 3), y: 3, height: 14, rx: 3, class: `bar ${kind}` }, svg("title", {}, title));
  const line = svg("svg", { class: "lane", viewBox: "0 0 1000 20", preserveAspectRatio: "none", "aria-hidden": "true" },
    bar(track.from_s, track.to_s, track.action === "obscured" ? "obscured" : track.action, `${clock(track.from_s)} – ${clock(track.to_s)}`),
    track.hidden.map((each) => bar(each.from_s, each.to_s, "obscured", each.reason)),
    svg("line", { class: "playhead", x1: 0, x2: 0, y1: 0, y2: 20 }));
  line.addEventListener("click", (event) => {
    const frame = line.getBoundingClientRect();
    seek((event.clientX - frame.left) / frame.width * length);
  });
  return line;
}

function marks(place, seconds, length) {
  const x = 1000 * Math.min(seconds / Math.max(length, 0.001), 1);
  for (const line of place.querySelectorAll(".playhead")) {
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
  }
}

function strip(source, label, name) {
  const image = el("img", { src: source, alt: `${name}, ${label}`, height: TILE_PX, loading: "lazy" });
  image.addEventListener("error", () => image.remove());
  return el("figure", {}, el("figcaption", {}, label), image);
}

function found(track, wishes, save, others) {
  const known = wishes.tracks.find((wish) => wish.track === track.track);
  const own = wishes.people.find((wish) => wish.person === track.person);
  const options = ["unset", "replace", "another", "keep", ...HIDE, "remove"].map((name) => [name, t(`do_${name}`)]);
  const label = t("doTrack", { number: track.track });
  return choice(label, options, known?.do ?? "unset", (chosen) => {
    wishes.tracks = wishes.tracks.filter((wish) => wish.track !== track.track);
    if (chosen === "another") { // a person has one new face: another one is for all tracks of the person
      wishes.people = wishes.people.filter((wish) => wish !== own);
      wishes.people.push({ person: track.person, do: "replace", target: (own?.target ?? 0) + 1 });
    } else if (chosen === "replace") wishes.tracks.push({ track: track.track, do: "replace", target: own?.target ?? 0 });
    else if (chosen !== "unset") wishes.tracks.push({ track: track.track, do: chosen });
    save();
  }, { id: `do-${track.track}` });
}

function person(track, wishes, save, others) {
  const own = wishes.people.find((wish) => wish.person === track.person);
  const options = ["unset", "another", "keep", ...HIDE].map((name) => [name, t(`do_${name}`)]);
  return choice(t("personTracks", { person: track.person, count: others }), options, own && own.do !== "replace" ? own.do : "unset", (chosen) => {
    wishes.people = wishes.people.filter((wish) => wish !== own);
    if (chosen === "another") wishes.people.push({ person: track.person, do: "replace", target: (own?.target ?? 0) + 1 });
    else if (chosen !== "unset") wishes.people.push({ person: track.person, do: chosen });
    save();
  }, { id: `person-${track.track}` });
}

function remove(track, one, wishes, save) {
  const index = one.tracks.filter((each) => each.added).indexOf(track);
  return button(t("removeTrack"), () => {
    wishes.add.splice(index, 1);
    save();
  });
}
