// The first view: drop files, and the list of jobs.

import { ask, upload } from "./api.js";
import { button, choice, el, say, show } from "./dom.js";
import { t, time } from "./strings.js";

const wishes = { method: "latent", privacy: "standard", obscure: "solid", seed: "" };

export async function home() {
  const [jobs, folders] = await Promise.all([ask("GET", "/v1/jobs"), ask("GET", "/v1/folders")]);
  const files = el("input", { type: "file", multiple: true, id: "files", class: "hidden", tabindex: "-1", "aria-hidden": "true" });
  const folder = el("input", { type: "file", webkitdirectory: true, id: "folder", class: "hidden", tabindex: "-1", "aria-hidden": "true" });
  for (const input of [files, folder]) {
    input.addEventListener("change", () => send([...input.files].map((file) => [file.webkitRelativePath || file.name, file])));
  }
  const zone = el("section", { class: "drop card", "aria-labelledby": "drop-title" },
    el("h1", { id: "drop-title" }, t("drop")),
    el("p", {}, button(t("choose"), () => files.click(), { class: "primary" }), " ", button(t("chooseFolder"), () => folder.click())),
    files, folder,
    el("p", { class: "help" }, t("stays")));
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    await send(await dropped(event.dataTransfer));
  });
  show(zone, folders.inputs.length ? named(folders.inputs) : null, settings(), list(jobs));
  return () => {};
}

// Folders of the server, where whoever runs the service has named some.
function named(names) {
  const folder = el("select", { id: "server-folder" }, names.map((name) => el("option", { value: name }, name)));
  const sub = el("input", { id: "server-subfolder", autocomplete: "off", placeholder: t("subfolderHint") });
  const begin = (event) => {
    event.preventDefault();
    send([], { folder: folder.value, subfolder: sub.value });
  };
  return el("section", { class: "card", "aria-labelledby": "server-title" },
    el("h2", { id: "server-title" }, t("serverFolder")),
    el("form", { onsubmit: begin, class: "actions" },
      el("label", { class: "field", for: "server-folder" }, t("folder")), folder,
      el("label", { class: "field", for: "server-subfolder" }, t("subfolder")), sub,
      el("button", { type: "submit" }, t("begin"))),
    el("p", { class: "help" }, t("serverFolderHelp")));
}

function settings() {
  const pick = (name) => (value) => { wishes[name] = value; };
  return el("details", { class: "card" },
    el("summary", {}, t("settings")),
    choice(t("method"), [["latent", t("methodLatent")], ["none", t("methodNone")]], wishes.method, pick("method")),
    choice(t("privacy"), ["Low", "Standard", "High", "Max"].map((name) => [name.toLowerCase(), t(`privacy${name}`)]), wishes.privacy, pick("privacy")),
    choice(t("obscure"), ["solid", "blur", "pixelate"].map((name) => [name, t(`do_${name}`)]), wishes.obscure, pick("obscure")),
    el("label", { class: "field" }, el("span", {}, t("seed")),
      el("input", { inputmode: "numeric", pattern: "[0-9]*", value: wishes.seed, oninput: (event) => pick("seed")(event.target.value) })));
}

function list(jobs) {
  return el("section", { "aria-labelledby": "jobs-title" },
    el("h2", { id: "jobs-title" }, t("jobs")),
    jobs.length === 0 ? el("p", {}, t("noJobs")) : el("ul", { class: "jobs" }, jobs.map((job) =>
      el("li", {}, el("a", { href: `#/job/${job.id}`, class: "card" },
        el("strong", {}, t("job", { time: time(job.created) })), " ",
        el("span", { class: `state ${job.state}` }, t(`state_${job.state}`)), " ",
        el("span", {}, t("progress", job)))))));
}

async function send(files, place = null) {
  if (files.length === 0 && place === null) return;
  const chosen = { method: wishes.method, privacy: wishes.privacy, obscure: wishes.obscure };
  if (wishes.seed !== "") chosen.seed = Number(wishes.seed);
  try {
    const job = await upload(files, chosen, (share) => say(place ? t("reading") : t("uploading", { percent: Math.round(share * 100) })), place);
    location.hash = `#/job/${job.id}`;
  } catch (error) {
    say(place ? error.message : t("uploadFailed", { reason: error.message }), "error");
  }
}

// Folders that are dropped are walked; the name of a file in one has the folder in it.
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files].map((file) => [file.name, file]);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push([entry.fullPath.replace(/^\//, ""), file]);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    for (const one of some) await walk(one, found);
  }
}
