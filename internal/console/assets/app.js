// What the pages do with a script, and can do without: they follow what changes, say
// times in the reader's zone, and find the search by "/". What the server sends is
// its own page, made by the same templates; nothing is made of data here.
"use strict";

const main = document.getElementById("main");
const live = document.getElementById("live");

// --- Times ---------------------------------------------------------------------

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(time.dateTime);
    if (!isNaN(at)) time.title = at.toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "long" });
  }
}

// --- What is new takes the place of what was ---------------------------------------
// Only what differs is touched: what somebody types, ticks, opens, scrolls or has the
// focus on stays as it is, because it stays the same element.

// keyOf tells an element from those beside it. What is ticked must never become
// another's: a control is the one of its name and value, a row that of its control.
function keyOf(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return "";
  if (node.id) return "#" + node.id;
  if (node.dataset.key) return "=" + node.dataset.key;
  if (node.matches("input, button, select, textarea")) return controlKey(node);
  if (node.matches("tr, li, p, td, label")) {
    const control = node.querySelector("input[type=checkbox], input[type=radio]");
    if (control) return "in " + controlKey(control);
  }
  return "";
}

function controlKey(node) {
  const value = node.matches("[type=checkbox], [type=radio], [type=hidden], button") ? node.getAttribute("value") : "";
  return `${node.localName} ${node.type} ${node.name} ${value}`;
}

const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

function morph(old, now) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== now.nodeValue) old.nodeValue = now.nodeValue;
    return;
  }
  // What the reader or this script has set: whether details are open, titles of times.
  const own = old.localName === "details" ? "open" : old.localName === "time" && old.dateTime === now.dateTime ? "title" : "";
  for (const { name } of [...old.attributes]) {
    if (name !== own && !now.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (name !== own && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.localName === "textarea" && old.value !== old.defaultValue) return;
  children(old, now);
}

function children(old, now) {
  const keyed = new Map();
  for (const node of old.childNodes) {
    const key = keyOf(node);
    if (key) keyed.set(key, [...(keyed.get(key) ?? []), node]);
  }
  let at = old.firstChild;
  for (const node of [...now.childNodes]) {
    const key = keyOf(node);
    let found = key ? keyed.get(key)?.shift() : at;
    if (!key) while (found && keyOf(found)) found = found.nextSibling; // those wait for their own
    if (found && same(found, node)) {
      while (at && at !== found && !stays(at, now)) at = drop(at);
      if (found !== at) old.insertBefore(found, at);
      else at = at.nextSibling;
      if (!found.isEqualNode(node)) morph(found, node);
    } else {
      old.insertBefore(node, at);
    }
  }
  while (at) at = drop(at);
}

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// stays reports whether an element with a key has its like in what is new.
function stays(node, now) {
  const key = keyOf(node);
  return key !== "" && [...now.childNodes].some((other) => keyOf(other) === key);
}

// --- What must not be lost ---------------------------------------------------------

// dirty are the controls that somebody has changed.
function dirty() {
  return [...main.querySelectorAll("input, textarea, select")].filter((c) =>
    c.type === "checkbox" || c.type === "radio" ? c.checked !== c.defaultChecked :
    c.localName === "select" ? c.selectedIndex !== Math.max([...c.options].findLastIndex((o) => o.defaultSelected), 0) :
    c.type !== "hidden" && c.value !== c.defaultValue);
}

let pressed = false; // a click whose element is gone between press and release is none
let composing = false; // nor a word that is being written by an input method

function held(now) {
  const selection = getSelection();
  if (pressed || composing) return true;
  if (!selection.isCollapsed && main.contains(selection.anchorNode)) return true;
  const there = new Set([...now.querySelectorAll("input, textarea, select")].map((c) => c.id || controlKey(c)));
  return dirty().some((c) => !there.has(c.id || controlKey(c)));
}

let waiting = null; // a page that came while another one was held

function show(html) {
  const now = document.createElement("main");
  now.innerHTML = html;
  if (held(now)) {
    waiting = html;
    say("held");
    return;
  }
  waiting = null;
  const focus = document.activeElement;
  children(main, now);
  localTimes(main);
  // What had the focus is gone: whoever goes by the keyboard goes on from here.
  if (focus && focus !== document.body && document.activeElement !== focus) {
    (focus.isConnected ? focus : main).focus({ preventScroll: true });
  }
  say("live");
}

// again shows the page that waits, when nothing holds it any longer.
function again() {
  if (waiting !== null) setTimeout(() => { if (waiting !== null) show(waiting); }, 0);
}

document.addEventListener("pointerdown", () => { pressed = true; });
for (const end of ["pointerup", "pointercancel", "dragend", "blur"]) {
  window.addEventListener(end, () => setTimeout(() => { pressed = false; again(); }, 0));
}
document.addEventListener("compositionstart", () => { composing = true; });
document.addEventListener("compositionend", () => { composing = false; again(); });
document.addEventListener("selectionchange", () => { if (getSelection().isCollapsed) again(); });

// --- Following ----------------------------------------------------------------------

function say(what) {
  if (live.textContent !== live.dataset[what]) live.textContent = live.dataset[what];
  live.className = what;
}

let events = null;
let lost = 0; // the timer after which the connection counts as lost
let retry = 0;

// The server ends a connection now and then; that another one is there at once is no
// news. Only what lasts is told.
function missing() {
  if (!lost) lost = setTimeout(() => say("lost"), 5000);
}

function found() {
  clearTimeout(lost);
  lost = 0;
}

function follow() {
  stop();
  events = new EventSource(location.href);
  events.addEventListener("page", (e) => { found(); show(e.data); });
  events.addEventListener("trouble", missing);
  events.onopen = () => { if (live.className === "lost") found(); };
  events.onerror = () => {
    missing();
    // The browser tries again by itself, but not after an answer that was no stream.
    if (events.readyState === EventSource.CLOSED) retry = setTimeout(follow, 10000);
  };
}

function stop() {
  clearTimeout(retry);
  found();
  events?.close();
  events = null;
}

if (main.hasAttribute("data-live")) {
  // A page that nobody sees costs nothing: it follows again when it is looked at.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : follow()));
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (e) => { if (e.persisted && !document.hidden) follow(); });
  if (!document.hidden) follow();
}

// --- Keys ---------------------------------------------------------------------------

document.addEventListener("keydown", (e) => {
  if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
  if (document.activeElement?.matches("input, textarea, select")) return;
  const find = document.getElementById("q");
  if (!find) return;
  e.preventDefault();
  find.focus();
  find.select();
});

localTimes(document);
