// A job: how far it is, and its photos and videos, those first that ask to be looked at.

import { ask, follow } from "./api.js";
import { button, el, fill, say, show } from "./dom.js";
import { photo } from "./photo.js";
import { t, time } from "./strings.js";
import { video } from "./video.js";

const ENDED = ["done", "failed", "cancelled"];

export async function job(id, number) {
  const state = { id, job: await ask("GET", `/v1/jobs/${id}`), folders: await ask("GET", "/v1/folders"), review: null, saving: false, stop: () => {}, leave: () => {} };
  const isVideo = state.job.files.some((file) => file.number === number && file.kind === "video");
  const place = { head: el("section", { class: "card" }), body: el("div", {}) };

  const refresh = async () => {
    state.review = await ask("GET", `/v1/jobs/${id}/faces`);
    drawBody();
  };
  const drawHead = () => keepFocus(() => fill(place.head, number === null ? head(state, act) : short(state, act)));
  const drawBody = () => keepFocus(() => {
    state.leave();
    state.leave = () => {};
    if (number === null) fill(place.body, grid(state));
    else state.leave = (isVideo ? video : photo)(place.body, state, number, decide);
  });
  const watch = () => {
    state.stop();
    state.stop = follow(id, (body) => {
      state.job = { ...state.job, ...body };
      drawHead();
      if (!ENDED.includes(body.state)) return;
      refresh().then(() => {
        drawHead();
        if (state.saving) saved();
        state.saving = false;
      }).catch((error) => say(error.message, "error"));
    });
  };
  const act = async (method, path, body) => {
    try {
      const answer = await ask(method, `/v1/jobs/${id}${path}`, body);
      if (method === "DELETE") location.hash = "#/";
      else if (path === "/save") say(t("savedInto", answer));
      else if (answer.photos) {
        state.saving = true;
        changed(answer);
      }
      else watch();
    } catch (error) {
      say(error.message, "error");
    }
  };
  // Sends decisions; the photo that they are about is done again meanwhile.
  const decide = async (method, path, body) => {
    say(t(path.startsWith("/videos/") ? "savingVideo" : "saving"));
    state.saving = true;
    try {
      changed(await ask(method, `/v1/jobs/${id}${path}`, body));
    } catch (error) {
      say(error.message, "error");
      await refresh();
    }
  };
  const changed = (review) => {
    state.review = review;
    watch();
  };

  show(place.head, place.body);
  drawHead();
  await refresh();
  if (ENDED.includes(state.job.state)) drawHead();
  else watch();
  return () => {
    state.stop();
    state.leave();
  };
}

// Tells people that a decision is done, and programs how many are.
function saved() {
  const main = document.getElementById("main");
  main.dataset.saves = Number(main.dataset.saves ?? 0) + 1;
  say(t("saved"));
}

// What takes the focus may be drawn anew meanwhile: what has its id then has the focus.
function keepFocus(draw) {
  const { id } = document.activeElement ?? {};
  draw();
  if (id && document.activeElement?.id !== id) document.getElementById(id)?.focus();
}

function told(job) {
  const eta = job.eta_s === null ? "" : `, ${t("eta", { seconds: Math.ceil(job.eta_s) })}`;
  return [el("span", { class: `state ${job.state}` }, t(`state_${job.state}`)), " ", t("progress", job) + eta];
}

// Above a single photo or video there is room for a line.
function short(state, act) {
  return el("div", { class: "actions bar-line" }, el("a", { href: "#/" }, t("back")), el("h1", { class: "small" }, t("job", { time: time(state.job.created) })),
    el("span", {}, told(state.job)), state.job.now ? el("span", { class: "help now" }, state.job.now) : null,
    state.review?.can_undo ? button(t("undo"), () => act("POST", "/undo"), { id: "undo", class: "end" }) : null);
}

function head(state, act) {
  const { job, review } = state;
  const ended = ENDED.includes(job.state);
  const done = job.state === "done";
  return [
    el("p", { class: "crumb" }, el("a", { href: "#/" }, t("back"))),
    el("h1", {}, t("job", { time: time(job.created) })),
    el("p", {}, told(job), el("span", { class: "help" }, ` · ${t("expires", { time: time(job.expires) })}`)),
    ended && done ? null : el("progress", { max: Math.max(job.total, 1), value: job.done, "aria-label": t("progress", job) }),
    job.now ? el("p", { class: "help now" }, job.now) : null,
    review && done ? el("p", {}, lookedAt(review)) : null,
    job.error ? el("p", { class: "warning" }, job.error) : null,
    job.withheld.length ? el("div", { class: "warning note" }, el("strong", {}, t("withheldTitle", { count: job.withheld.length })), el("ul", {}, job.withheld.map((one) =>
      el("li", {}, `${one.input}: ${one.error}`)))) : null,
    job.skipped.length ? el("p", { class: "help" }, t("skipped", { names: job.skipped.join(", ") })) : null,
    el("div", { class: "actions" },
      ended ? null : button(t("cancel"), () => act("POST", "/cancel")),
      ["failed", "cancelled"].includes(job.state) ? button(t("retry"), () => act("POST", "/retry"), { class: "primary" }) : null,
      done ? button(t("approveAll"), () => act("POST", "/approve"), { id: "approve-all" }) : null,
      done ? el("a", { class: "button primary", href: `/v1/jobs/${job.id}/download`, download: true }, t("download")) : null,
      done ? state.folders.outputs.map((folder) => button(t("saveInto", { folder }), () => act("POST", "/save", { folder }))) : null,
      done ? el("a", { class: "button", href: `/v1/jobs/${job.id}/decisions`, download: true }, t("decisionsFile")) : null,
      review?.can_undo ? button(t("undo"), () => act("POST", "/undo"), { id: "undo" }) : null,
      button(t("remove"), () => { if (confirm(t("removeSure"))) act("DELETE", ""); }, { class: "danger end" })),
  ].filter(Boolean);
}

function lookedAt(review) {
  const all = [...review.photos, ...review.videos].filter((one) => !one.error);
  const approved = all.filter((one) => one.wishes.approved).length;
  const risky = all.filter((one) => one.risk >= 0.5 && !one.wishes.approved).length;
  return t(risky ? "summaryRisky" : "summary", { approved, all: all.length, risky });
}

function grid(state) {
  const { photos, videos } = state.review;
  const waiting = state.job.files.filter((file) => file.kind === "video" && !videos.some((one) => one.number === file.number));
  return [
    videos.length + waiting.length ? el("section", { "aria-labelledby": "videos" }, el("h2", { id: "videos" }, t("videos")),
      el("ul", { class: "grid wide" }, videos.map((one) => film(state, one)), waiting.map((file) => el("li", {},
        el("div", { class: "card photo" }, el("span", { class: "missing" }, "…"), el("span", { class: "name" }, file.name), el("span", { class: "why" }, t("videoWaiting"))))))) : null,
    photos.length ? el("section", { "aria-labelledby": "photos" }, el("h2", { id: "photos" }, t("photos")),
      el("ul", { class: "grid" }, photos.map((one) => card(state, one)))) : null,
  ].filter(Boolean);
}

function film(state, one) {
  const reasons = [...new Set(one.tracks.flatMap((track) => track.reasons))].map((name) => t(`risk_${name}`));
  const why = one.error ? t("withheld", { reason: one.error }) : reasons.join(", ") || t("nothing");
  const approved = Boolean(one.wishes.approved);
  const label = t("videoLabel", { name: one.name, tracks: one.tracks.length, why });
  return el("li", {},
    el("a", { class: "card photo", href: `#/job/${state.id}/${one.number}`, "aria-label": approved ? `${label} ${t("approved")}` : label },
      one.error ? el("span", { class: "missing" }, "!") :
        el("video", { src: `/v1/jobs/${state.id}/videos/${one.number}/after?v=${one.version}#t=0.1`, muted: true, playsinline: true, preload: "metadata", tabindex: "-1", "aria-hidden": "true" }),
      el("span", { class: "name" }, one.name),
      el("span", { class: one.risk >= 0.5 || one.error ? "why risky" : "why" }, why),
      approved ? el("span", { class: "tag" }, t("approved")) : null));
}

function card(state, one) {
  const reasons = [...new Set(one.faces.flatMap((face) => face.reasons))].map((name) => t(`risk_${name}`));
  const plain = one.faces.length ? t("nothing") : t("noFace");
  const why = one.error ? t("withheld", { reason: one.error }) : reasons.join(", ") || plain;
  const approved = Boolean(one.wishes.approved);
  const label = t("photoLabel", { name: one.name, faces: one.faces.length, why });
  return el("li", {},
    el("a", { class: "card photo", href: `#/job/${state.id}/${one.number}`, "aria-label": approved ? `${label} ${t("approved")}` : label },
      one.error ? el("span", { class: "missing" }, "!") :
        el("img", { src: `/v1/jobs/${state.id}/photos/${one.number}/after?px=400&v=${one.version}`, alt: "", loading: "lazy" }),
      el("span", { class: "name" }, one.name),
      el("span", { class: one.risk >= 0.5 || one.error ? "why risky" : "why" }, why),
      approved ? el("span", { class: "tag" }, t("approved")) : null));
}
