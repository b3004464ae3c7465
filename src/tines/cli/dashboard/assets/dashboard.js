// Asks for what is shown once a second while the page is in the foreground, and puts it in its place.
// What people have opened, scrolled or moved to stays as it is; while text is selected, all of it does.
"use strict";

const token = new URLSearchParams(location.search).get("token") || "";
const main = document.getElementById("main");
const state = document.getElementById("state");
const pause = document.getElementById("pause");
const dialog = document.getElementById("stacks");
const INTERVAL = 1000;
let paused = false;
let asking = false;
let timer = 0;

async function ask(path, method = "GET") {
  const response = await fetch(path, {
    method,
    cache: "no-store",
    credentials: "omit",
    headers: { Authorization: `Bearer ${token}` },
  });
  const text = await response.text();
  if (!response.ok) throw new Error(text.trim() || `status ${response.status}`);
  return text;
}

function say(text, kind) {
  if (state.textContent !== text) state.textContent = text;
  state.className = kind;
}

function selecting() {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && main.contains(selection.anchorNode);
}

function show(html) {
  const next = new DOMParser().parseFromString(html, "text/html");
  for (const details of main.querySelectorAll("details[id]")) {
    const same = next.getElementById(details.id);
    if (same !== null) same.open = details.open;
  }
  const focused = main.contains(document.activeElement) ? place(document.activeElement) : null;
  const scrolled = [...main.querySelectorAll(".wide")].map((each) => each.scrollLeft);
  main.replaceChildren(...next.body.childNodes);
  main.querySelectorAll(".wide").forEach((each, index) => {
    // What is drawn ends with now.
    const start = each.querySelector("svg") === null ? 0 : each.scrollWidth;
    each.scrollLeft = scrolled[index] ?? start;
  });
  if (focused !== null) find(focused)?.focus({ preventScroll: true });
}

// Where an element is: by its id, or as the how-manieth of its kind.
function place(element) {
  if (element.id) return { id: element.id };
  const name = element.localName + (element.className ? `.${element.className}` : "");
  return { name, index: [...main.querySelectorAll(name)].indexOf(element) };
}

function find(where) {
  if (where.id) return document.getElementById(where.id);
  return main.querySelectorAll(where.name)[where.index];
}

async function look() {
  clearTimeout(timer);
  if (asking || paused || document.hidden) return;
  asking = true;
  try {
    const html = await ask("view");
    if (selecting()) {
      say("held while text is selected", "held");
    } else {
      show(html);
      say("live", "live");
    }
  } catch (error) {
    say(`no answer (${error.message}): has tines dashboard ended?`, "lost");
  } finally {
    asking = false;
    timer = setTimeout(look, INTERVAL);
  }
}

function toggle() {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  if (paused) say("paused", "held");
  else look();
}

async function stacks(pid) {
  const title = document.getElementById("stacks-title");
  const text = document.getElementById("stacks-text");
  title.textContent = `Stacks of process ${pid}`;
  text.textContent = "asking";
  if (!dialog.open) dialog.showModal();
  try {
    text.textContent = await ask(`stacks?pid=${pid}`, "POST");
  } catch (error) {
    text.textContent = error.message;
  }
}

pause.addEventListener("click", toggle);
main.addEventListener("click", (event) => {
  const button = event.target.closest("[data-stacks]");
  if (button !== null) stacks(button.dataset.stacks);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "p" && !event.ctrlKey && !event.metaKey && !event.altKey && !dialog.open) toggle();
});
document.addEventListener("visibilitychange", look);
look();
