// The page: which view is shown is what the address says after the #.

import { ask } from "./api.js";
import { button, el, say, show } from "./dom.js";
import { home } from "./home.js";
import { job } from "./job.js";
import { LANGUAGES, chooseLanguage, language, t } from "./strings.js";

let leave = () => {};

async function route() {
  leave();
  leave = () => {};
  say("");
  const who = await ask("GET", "/v1/session");
  frame(who);
  if (who.name === null) {
    signIn();
    return;
  }
  const [, view, id, photo] = location.hash.split("/");
  leave = view === "job" ? await job(id, photo ? Number(photo) : null) : await home();
}

function frame(who) {
  document.documentElement.lang = language();
  document.title = t("title");
  document.getElementById("skip").textContent = t("skip");
  document.getElementById("language-label").textContent = t("language");
  const select = document.getElementById("language");
  select.replaceChildren(...Object.entries(LANGUAGES).map(([name, text]) =>
    el("option", { value: name, lang: name, selected: name === language() }, text)));
  const place = document.getElementById("who");
  place.replaceChildren();
  if (who.needs_token && who.name !== null) {
    place.append(who.name, " ", button(t("signOut"), async () => {
      await ask("DELETE", "/v1/session");
      location.hash = "#/";
      start();
    }));
  }
}

function signIn() {
  const input = el("input", { type: "password", id: "token", autocomplete: "off", required: true, "aria-describedby": "token-help" });
  const send = async (event) => {
    event.preventDefault();
    try {
      await ask("POST", "/v1/session", { token: input.value });
      start();
    } catch (error) {
      say(error.message, "error");
      input.focus();
    }
  };
  show(el("h1", {}, t("signIn")),
    el("form", { onsubmit: send, class: "card narrow" },
      el("label", { class: "field", for: "token" }, t("token")), input,
      el("p", { id: "token-help", class: "help" }, t("tokenHelp")),
      el("button", { type: "submit", class: "primary" }, t("signIn"))));
  input.focus();
}

function start() {
  route().catch((error) => say(error.message, "error"));
}

document.getElementById("language").addEventListener("change", (event) => {
  chooseLanguage(event.target.value);
  start();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
window.addEventListener("hashchange", start);
start();
