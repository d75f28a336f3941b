const given = {}, el = id => document.getElementById(id);
const answers = document.querySelectorAll("[data-answer]");
let at = 0;
function show() {
  const question = data.questions[at], count = Object.keys(given).length, all = data.questions.length;
  el("ask").textContent = "Question " + (at + 1) + " of " + all + ": " + (question.kind
    ? "is a face inside the orange frame (" + question.kind + ") untouched?"
    : "is a face anywhere in this picture untouched?") + "  " + question.photo;
  el("before").src = question.number + "-before.jpg";
  el("after").src = question.number + "-after.jpg";
  for (const button of answers) {
    const chosen = given[question.number] === data.answers[button.dataset.answer];
    button.classList.toggle("chosen", chosen);
    button.setAttribute("aria-pressed", chosen);
  }
  el("done").max = all;
  el("done").value = count;
  el("left").textContent = count + " of " + all + " answered.";
}
function move(step) { at = Math.min(Math.max(at + step, 0), data.questions.length - 1); show(); }
function answer(index) { given[data.questions[at].number] = data.answers[index]; move(1); }
function nextOpen() {
  const open = data.questions.findIndex(question => !(question.number in given));
  if (open >= 0) at = open;
  show();
}
function save() {
  const record = {kind: data.kind, sample: data.sample, by: el("by").value.trim(),
    when: new Date().toISOString(), answers: given};
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(record, null, 1)], {type: "application/json"}));
  link.download = "answers.json";
  link.click();
}
async function load(event) {
  const record = JSON.parse(await event.target.files[0].text());
  if (record.sample !== data.sample) { alert("These answers belong to another sample."); return; }
  Object.assign(given, record.answers);
  el("by").value = record.by;
  nextOpen();
}
if (data.questions.length) {
  for (const button of answers) button.onclick = () => answer(Number(button.dataset.answer));
  el("back").onclick = () => move(-1);
  el("next").onclick = () => move(1);
  el("open").onclick = nextOpen;
  el("save").onclick = save;
  el("load").onchange = load;
  document.onkeydown = event => {
    if (event.target.tagName === "INPUT" || !data.questions.length) return;
    if (["1", "2", "3"].includes(event.key)) answer(Number(event.key) - 1);
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  };
  show();
} else el("ask").textContent = "There is nothing to look at.";
