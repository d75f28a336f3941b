// A job: how far it is, and its photos, those first that ask to be looked at.

import { ask, follow } from "./api.js";
import { button, el, fill, say, show } from "./dom.js";
import { photo } from "./photo.js";
import { t, time } from "./strings.js";

const ENDED = ["done", "failed", "cancelled"];

export async function job(id, number) {
  const state = { id, job: await ask("GET", `/v1/jobs/${id}`), review: null, saving: false, stop: () => {}, leave: () => {} };
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
    else state.leave = photo(place.body, state, number, decide);
  });
  const watch = () => {
    state.stop();
    state.stop = follow(id, (body) => {
      state.job = { ...state.job, ...body };
      drawHead();
      if (!ENDED.includes(body.state)) return;
      refresh().then(() => {
        drawHead();
        if (state.saving) say(t("saved"));
        state.saving = false;
      }).catch((error) => say(error.message));
    });
  };
  const act = async (method, path) => {
    try {
      const answer = await ask(method, `/v1/jobs/${id}${path}`);
      if (method === "DELETE") location.hash = "#/";
      else if (answer.photos) changed(answer);
      else watch();
    } catch (error) {
      say(error.message);
    }
  };
  // Sends decisions; the photo that they are about is done again meanwhile.
  const decide = async (method, path, body) => {
    say(t("saving"));
    state.saving = true;
    try {
      changed(await ask(method, `/v1/jobs/${id}${path}`, body));
    } catch (error) {
      say(error.message);
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

// Above a single photo there is room for a line.
function short(state, act) {
  return el("p", { class: "actions" }, el("a", { href: "#/" }, t("back")), el("h1", { class: "small" }, t("job", { time: time(state.job.created) })),
    el("span", {}, told(state.job)),
    state.review?.can_undo ? button(t("undo"), () => act("POST", "/undo"), { id: "undo" }) : null);
}

function head(state, act) {
  const { job, review } = state;
  const ended = ENDED.includes(job.state);
  return [
    el("p", {}, el("a", { href: "#/" }, t("back"))),
    el("h1", {}, t("job", { time: time(job.created) })),
    el("p", {}, told(job), `, ${t("expires", { time: time(job.expires) })}`),
    el("progress", { max: Math.max(job.total, 1), value: job.done, "aria-label": t("progress", job) }),
    job.error ? el("p", { class: "warning" }, job.error) : null,
    job.withheld.length ? el("ul", { class: "warning" }, job.withheld.map((one) =>
      el("li", {}, `${one.input}: ${t("withheld", { reason: one.error })}`))) : null,
    job.skipped.length ? el("p", { class: "help" }, t("skipped", { names: job.skipped.join(", ") })) : null,
    el("p", { class: "actions" },
      ended ? null : button(t("cancel"), () => act("POST", "/cancel")),
      ["failed", "cancelled"].includes(job.state) ? button(t("retry"), () => act("POST", "/retry")) : null,
      job.state === "done" ? el("a", { class: "button primary", href: `/v1/jobs/${job.id}/download`, download: true }, t("download")) : null,
      job.state === "done" ? el("a", { class: "button", href: `/v1/jobs/${job.id}/decisions`, download: true }, t("decisionsFile")) : null,
      job.state === "done" ? button(t("approveAll"), () => act("POST", "/approve"), { id: "approve-all" }) : null,
      review?.can_undo ? button(t("undo"), () => act("POST", "/undo"), { id: "undo" }) : null,
      button(t("remove"), () => { if (confirm(t("removeSure"))) act("DELETE", ""); }, { class: "danger" })),
  ].filter(Boolean);
}

function grid(state) {
  const videos = state.job.files.filter((file) => file.kind === "video");
  return [
    state.review.photos.length ? el("h2", { id: "photos" }, t("photos")) : null,
    el("ul", { class: "grid" }, state.review.photos.map((one) => card(state, one))),
    videos.length ? el("h2", {}, t("videos")) : null,
    videos.length ? el("ul", {}, videos.map((file) => el("li", {}, file.name))) : null,
  ].filter(Boolean);
}

function card(state, one) {
  const reasons = [...new Set(one.faces.flatMap((face) => face.reasons))].map((name) => t(`risk_${name}`));
  const why = one.error ? t("withheld", { reason: one.error }) : reasons.join(", ") || t("nothing");
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
