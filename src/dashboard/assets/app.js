// The page: asks the server for what has been, and listens to what comes. The server keeps the history, so whatever
// is missed while the connection is lost is there when it is back.

import { HeatMap } from "./heatmap.js";
import { Card, Culprits, clock, legend, long, node, plain, say, stallRow } from "./parts.js";

const MOST_ROWS = 200;
const by = (id) => document.getElementById(id);

const state = { range: 60, isPaused: false, now: null, at: 0, stalls: new Map(), cards: new Map(), dropped: 0 };
const filters = by("filters");
const culprits = new Culprits(by("culprits"), openTrace);

// What is asked for.

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
}

async function askJson(path) {
  return (await ask(path)).json();
}

/** Asks for everything that is not here yet: at the start, and after the connection was lost. */
async function askAll() {
  await Promise.all([askStalls(), askHistory(), askCulprits()]);
}

async function askStalls() {
  const { stalls, dropped } = await askJson("api/stalls");
  state.stalls = new Map(stalls.map((stall) => [stall.id, stall]));
  state.dropped = dropped;
}

async function askHistory() {
  const range = state.range;
  const shown = [...state.cards.values()].map((card) => card.map.latest(range));
  // The latest columns may still grow.
  const since = shown.includes(null) ? 0 : Math.max(0, ...shown.map((at) => at - 4 * range * 1000 / 240));
  const { monitors, ...scale } = await askJson(`api/history?range=${range}&since=${Math.floor(since)}`);
  if (range !== state.range) return;
  for (const { id, columns } of monitors) state.cards.get(id)?.map.add(range, scale, columns);
}

async function askCulprits() {
  const { monitors } = await askJson("api/culprits");
  state.culprits = monitors;
  drawCulprits();
}

async function openTrace(monitor, culprit, key) {
  drawCulprits();
  if (!culprits.open.has(key) || !culprit.has_trace) return;
  try {
    const answer = await ask(`api/trace?monitor=${monitor}&culprit=${culprit.id}`);
    culprits.traces.set(key, await answer.text());
  } catch {
    culprits.traces.set(key, "It could not be loaded. Close and open the row to try again.");
  }
  drawCulprits();
}

/** Repeats while the page is seen. A fault is the connection's, which says so itself. */
function repeat(each, task) {
  const turn = async () => {
    if (!document.hidden && !state.isPaused && state.now) {
      try {
        await task();
      } catch {
        // The next turn tries again.
      }
    }
    setTimeout(turn, each());
  };
  setTimeout(turn, each());
}

// What comes.

function listen() {
  const events = new EventSource("events");
  events.addEventListener("open", () => askAll().then(drawAll, () => {}));
  events.addEventListener("now", (event) => arrive(JSON.parse(event.data)));
  events.addEventListener("stall", (event) => {
    const stall = JSON.parse(event.data);
    if (!state.isPaused) state.stalls.set(stall.id, stall);
  });
  events.addEventListener("error", () => {
    link("lost", "connection lost, trying again …");
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  });
}

function link(kind, words) {
  by("link").dataset.state = kind;
  say(by("link"), words);
}

function arrive(now) {
  if (state.now && state.now.instance !== now.instance) {
    say(by("notice"), `The process was restarted: this one serves the page since ${clock(now.started_at)}. What was before is gone.`);
    by("notice").hidden = false;
    by("runtimes").replaceChildren();
    state.cards.clear();
    state.stalls.clear();
    culprits.traces.clear();
    state.now = null;
  }
  link("live", state.isPaused ? "live, the page is paused" : "live");
  if (state.isPaused) return;
  const isFirst = !state.now;
  state.now = now;
  state.at = performance.now();
  for (const monitor of now.monitors) {
    for (const stall of monitor.stalls) state.stalls.set(stall.id, stall);
    let card = state.cards.get(monitor.id);
    if (!card) {
      card = new Card(monitor, new HeatMap(monitor));
      state.cards.set(monitor.id, card);
      by("runtimes").append(card.element);
    }
    card.now(monitor);
  }
  if (isFirst) askAll().then(drawAll, () => {});
  else if (hasMissedAnEnd(now)) askStalls().then(drawAll, () => {});
  title();
  requestAnimationFrame(draw);
}

/** An answer to `askStalls` may be older than an event that came before it. */
function hasMissedAnEnd(now) {
  const open = new Set(now.monitors.flatMap((monitor) => monitor.stalls.map((stall) => stall.id)));
  return [...state.stalls.values()].some((stall) => stall.open && !open.has(stall.id));
}

function title() {
  const stuck = state.now.monitors.flatMap((monitor) => monitor.stalls);
  const longest = Math.max(...stuck.map((stall) => stall.duration_ms));
  document.title = stuck.length ? `stuck for ${long(longest)} – loopmon` : "loopmon";
}

// What is drawn.

function draw() {
  if (!state.now) return;
  const to = state.now.now;
  const from = to - state.range * 1000;
  const all = [...state.stalls.values()];
  for (const monitor of state.now.monitors) {
    const card = state.cards.get(monitor.id);
    card.map.draw(from, to, monitor.running ? monitor.lag_ms : 0);
    const shown = all.filter((stall) => stall.monitor === monitor.id).sort((one, other) => other.began_at - one.began_at);
    card.draw(shown.slice(0, 300), state.now.pauses, from, to);
  }
}

function drawCulprits() {
  culprits.draw(state.culprits ?? []);
  const links = (state.culprits ?? []).map((monitor) =>
    node("a", { href: `api/folded?monitor=${monitor.id}`, download: "stalls.folded" }, plain(monitor.name)));
  const line = by("folded");
  if (line.childElementCount !== links.length + 1) {
    line.replaceChildren(node("a", { href: `picture.svg?range=3600` }, "A picture of the last hour"), ". Folded stacks for flame graphs: ", ...links.flatMap((one, index) => (index ? [", ", one] : [one])));
  }
}

function drawStalls() {
  if (!state.now) return;
  const { place, cause, culprit, least } = Object.fromEntries(new FormData(filters));
  const names = new Map(state.now.monitors.map((monitor) => [monitor.id, monitor.name]));
  const has = (text, part) => (text ?? "").toLowerCase().includes(part.toLowerCase());
  const chosen = [...state.stalls.values()].filter((stall) =>
    has(`${names.get(stall.monitor)}: ${stall.place}`, place) && (!cause || stall.cause === cause) &&
    has(stall.culprit, culprit) && stall.duration_ms >= Number(least || 0));
  chosen.sort((one, other) => other.began_at - one.began_at);
  const rows = chosen.slice(0, MOST_ROWS).map((stall) => stallRow(stall, names.get(stall.monitor) ?? ""));
  if (rows.length === 0) rows.push(node("tr", {}, node("td", { colspan: "5" }, "No stall.")));
  by("stalls").replaceChildren(...rows);
  const hidden = Math.max(0, chosen.length - MOST_ROWS);
  say(by("more"), [hidden && `${hidden} more match.`, state.dropped && `${state.dropped} older ones are not kept.`].filter(Boolean).join(" "));
}

function drawAll() {
  draw();
  drawStalls();
}

// What the user does.

function setRange(range) {
  state.range = range;
  for (const button of document.querySelectorAll("[data-range]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.range) === range));
  }
  askHistory().then(draw, () => {});
}

function setPaused(isPaused) {
  state.isPaused = isPaused;
  by("pause").setAttribute("aria-pressed", String(isPaused));
  say(by("pause"), isPaused ? "Go on" : "Pause");
  if (!isPaused) askAll().then(drawAll, () => {});
}

const THEMES = ["system", "light", "dark"];

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  say(by("theme"), `Theme: ${theme}`);
  draw();
}

function nextTheme() {
  const now = document.documentElement.dataset.theme ?? "system";
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
}

for (const button of document.querySelectorAll("[data-range]")) {
  button.addEventListener("click", () => setRange(Number(button.dataset.range)));
}
by("pause").addEventListener("click", () => setPaused(!state.isPaused));
by("theme").addEventListener("click", nextTheme);
filters.addEventListener("input", drawStalls);
filters.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = { 1: () => setRange(60), 2: () => setRange(600), 3: () => setRange(3600), p: () => setPaused(!state.isPaused), t: nextTheme }[event.key];
  if (act) act();
});
addEventListener("resize", () => requestAnimationFrame(draw));

legend(by("legend"), filters.elements.cause);
setTheme(THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system");
repeat(() => Math.max(1000, state.range * 1000 / 240), askHistory);
repeat(() => 2000, askCulprits);
repeat(() => 1000, async () => drawStalls());
listen();
