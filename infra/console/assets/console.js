// What pages do beyond links and forms: they stay current, and take keys. Everything works without it.
"use strict";

const IDLE_MS = 15 * 60 * 1000;
const ANNOUNCE_MS = 30 * 1000;
const byId = (id) => document.getElementById(id);
const store = {
  get: (name) => { try { return localStorage.getItem("console-" + name); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem("console-" + name, value); } catch { /* private window */ } },
};

// The console's clock, which may differ from the browser's.
const clockOffset = () => Number(document.querySelector("[data-now]")?.dataset.now || Date.now()) - loadedAt;
const loadedAt = Date.now();
const now = () => Date.now() + clockOffset();

// Times: ages that stay right, or UTC.
function age(at) {
  const secs = Math.floor(Math.abs(now() - at) / 1000);
  const span = secs < 120 ? `${secs} s` : secs < 7200 ? `${Math.floor(secs / 60)} min`
    : secs < 172800 ? `${Math.floor(secs / 3600)} h` : `${Math.floor(secs / 86400)} days`;
  return at > now() ? `in ${span}` : `${span} ago`;
}
function showTimes() {
  const inUtc = store.get("utc") === "yes";
  for (const element of document.querySelectorAll("time[datetime]")) {
    const text = inUtc ? element.dateTime.replace("T", " ").replace(/\.\d+Z$/, "Z") : age(Date.parse(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}

// Why nothing is refreshed at the moment; empty if it is.
let lastUsed = Date.now();
for (const kind of ["pointerdown", "keydown", "scroll", "pointermove"]) {
  addEventListener(kind, () => { lastUsed = Date.now(); }, { passive: true });
}
function pauseReason() {
  if (store.get("paused") === "yes") return "paused";
  if (document.querySelector("dialog[open]")) return "paused while the options are open";
  if (document.querySelector("main input[type=checkbox]:checked")) return "paused while rows are checked";
  if (String(getSelection() || "")) return "paused while text is selected";
  if (document.hidden) return "paused: hidden";
  if (Date.now() - lastUsed > IDLE_MS) return "paused: unused for 15 minutes";
  return "";
}

const regions = [...document.querySelectorAll("[data-live]")];
let problem = "";
function showConnection() {
  const connection = byId("connection");
  if (!connection || regions.length === 0) return;
  const reason = pauseReason();
  const text = reason || problem || "live";
  if (connection.textContent !== text) connection.textContent = text;
  connection.hidden = false;
  connection.className = !reason && problem ? "bad" : "";
  const pause = byId("pause");
  pause.hidden = false;
  pause.textContent = store.get("paused") === "yes" ? "Go on" : "Pause";
}

let announcedAt = 0;
function announce(text) {
  if (!text || Date.now() - announcedAt < ANNOUNCE_MS) return;
  announcedAt = Date.now();
  byId("announcement").textContent = text;
}

async function refresh(region) {
  try {
    const response = await fetch(region.dataset.live, { cache: "no-store", redirect: "error" });
    if (!response.ok) {
      problem = response.status === 401 ? "signed out" : `answers ${response.status}`;
      return;
    }
    const text = await response.text();
    problem = "";
    byId("as-of").textContent = response.headers.get("console-as-of") || byId("as-of").textContent;
    // It may have been paused meanwhile.
    if (pauseReason() || region.lastText === text) return;
    region.lastText = text;
    const focused = region.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    region.innerHTML = text;
    if (focused !== null) region.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
    if (region.dataset.announce !== undefined) announce(region.textContent.trim());
    showTimes();
  } catch {
    problem = "the console does not answer";
  }
}

async function run() {
  for (;;) {
    if (regions.length > 0 && !pauseReason()) await Promise.all(regions.map(refresh));
    showConnection();
    await new Promise((resume) => setTimeout(resume, 2500));
  }
}

// Rows are chosen by j and k, for people who use no mouse.
let chosen = -1;
function choose(step) {
  // A row's own page, not that of something else it names.
  const ownLink = (row) => row.querySelector(".id a[href], a.id[href]") || row.querySelector("a[href]");
  const links = [...document.querySelectorAll("main tbody tr")].map(ownLink).filter((link) => link !== null);
  if (links.length === 0) return;
  chosen = Math.min(links.length - 1, Math.max(0, chosen + step));
  for (const row of document.querySelectorAll("tr.chosen")) row.classList.remove("chosen");
  links[chosen].closest("tr").classList.add("chosen");
  links[chosen].focus();
}
function openOptions() {
  byId("option-utc").checked = store.get("utc") === "yes";
  byId("option-shortcuts").checked = store.get("shortcuts") !== "no";
  byId("options-dialog").showModal();
}
function togglePause() {
  store.set("paused", store.get("paused") === "yes" ? "no" : "yes");
  showConnection();
}
addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea, dialog, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || store.get("shortcuts") === "no") return;
  const actions = {
    "/": () => byId("search").focus(), "?": openOptions, j: () => choose(1), k: () => choose(-1),
    p: () => { if (regions.length > 0) togglePause(); },
  };
  if (!actions[event.key]) return;
  event.preventDefault();
  actions[event.key]();
});

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}
// One click per form: a second one would act twice.
for (const form of document.querySelectorAll("form[method=post]:not([data-repeat])")) {
  form.addEventListener("submit", () => setTimeout(() => {
    for (const button of form.querySelectorAll("button")) button.disabled = true;
  }));
}
for (const all of document.querySelectorAll("[data-check-all]")) {
  all.closest("label").hidden = false;
  all.addEventListener("change", () => {
    for (const box of all.closest("form").querySelectorAll("tbody input[type=checkbox]")) box.checked = all.checked;
    showConnection();
  });
}
if (byId("options")) {
  byId("options").hidden = false;
  byId("options").addEventListener("click", openOptions);
  byId("pause").addEventListener("click", togglePause);
  byId("option-utc").addEventListener("change", (event) => { store.set("utc", event.target.checked ? "yes" : "no"); showTimes(); });
  byId("option-shortcuts").addEventListener("change", (event) => store.set("shortcuts", event.target.checked ? "yes" : "no"));
  byId("options-dialog").addEventListener("close", showConnection);
  document.addEventListener("selectionchange", showConnection);
  document.addEventListener("change", showConnection);
  addEventListener("storage", () => { showConnection(); showTimes(); });
  showTimes();
  setInterval(showTimes, 1000);
  run();
}
