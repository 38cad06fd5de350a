// What the pages do with a script, which they can do without: they follow what
// changes, say times in the reader's zone, and find the search by "/".
"use strict";

const main = document.getElementById("main");
const live = document.getElementById("live");

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!isNaN(at)) time.title = at.toLocaleString();
  }
}

// Somebody who types, or has chosen something in a form, must not lose it.
let touched = false;
main.addEventListener("input", () => { touched = true; });
main.addEventListener("change", () => { touched = true; });

function busy() {
  const at = document.activeElement;
  const types = at && main.contains(at) && at.matches("input, textarea, select");
  const selects = !getSelection().isCollapsed && main.contains(getSelection().anchorNode);
  return touched || types || selects;
}

function say(what) {
  if (live.textContent !== live.dataset[what]) live.textContent = live.dataset[what];
  live.className = what;
}

function replace(html) {
  const at = document.activeElement;
  const id = at && main.contains(at) ? at.id : "";
  const href = at && main.contains(at) ? at.getAttribute("href") : null;
  const open = [...main.querySelectorAll("details[open][id]")].map((d) => d.id);
  main.innerHTML = html; // the server's own page, by the same templates
  for (const each of open) document.getElementById(each)?.setAttribute("open", "");
  const again = id ? document.getElementById(id) : href ? main.querySelector(`a[href="${CSS.escape(href)}"]`) : null;
  again?.focus({ preventScroll: true });
  localTimes(main);
}

function follow() {
  const events = new EventSource(location.href);
  events.addEventListener("page", (e) => {
    if (busy()) return say("held");
    replace(e.data);
    say("live");
  });
  events.addEventListener("trouble", () => say("lost"));
  events.onopen = () => say("live");
  events.onerror = () => say("lost");
}

document.addEventListener("keydown", (e) => {
  if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey) return;
  if (document.activeElement?.matches("input, textarea, select")) return;
  e.preventDefault();
  document.getElementById("q")?.focus();
});

localTimes(document);
if (main.hasAttribute("data-live")) follow();
