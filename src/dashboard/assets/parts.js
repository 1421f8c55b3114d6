// Pieces of the page. Text from the program is only ever set as text.

export function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Sets the text if it is another: screen readers then hear only what changes. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows control characters and marks that change the direction of text. */
export function plain(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (mark) => "\\u" + mark.codePointAt(0).toString(16).padStart(4, "0"));
}

export function long(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 100_000 ? 2 : 0)} s`;
}

export function clock(at, fraction = false) {
  const date = new Date(at);
  const time = date.toLocaleTimeString([], { hour12: false });
  return fraction ? `${time}.${String(date.getMilliseconds()).padStart(3, "0")}` : time;
}

export const CAUSES = {
  blocked: "blocked in the kernel",
  on_cpu: "running on the CPU",
  many_polls: "many polls in a row",
  unattended: "no thread runs it",
  starved: "starved of CPU by the host",
  unknown: "cause unknown",
};

export function legend(list, select) {
  for (const [cause, words] of Object.entries(CAUSES)) {
    list.append(node("li", {}, node("span", { class: "bar", "data-cause": cause }), words));
    select.append(node("option", { value: cause }, words));
  }
  list.append(node("li", {}, node("span", { class: "gap" }), "the process was paused"));
}

export function about(stall) {
  const until = stall.open ? "so far" : "in all";
  const parts = [`${plain(stall.place)}: ${long(stall.duration_ms)} ${until}, from ${clock(stall.began_at, true)}`, stall.why];
  if (stall.culprit) parts.push(`in ${plain(stall.culprit)}`);
  if (stall.thread) parts.push(`on thread ${plain(stall.thread)}`);
  return parts.join(", ");
}

/** The card of one runtime. */
export class Card {
  constructor(monitor, map) {
    const title = node("h3", { id: `runtime-${monitor.id}` }, plain(monitor.name));
    this.values = {};
    const list = node("dl");
    for (const [key, words] of [["lag", "lag now"], ["tasks", "tasks"], ["queue", "queue"], ["busy", "busy"], ["stuck", "stalled"]]) {
      this.values[key] = node("dd", {}, "–");
      list.append(node("div", {}, node("dt", {}, words), this.values[key]));
    }
    this.stuck = node("ul", { class: "stuck-list" });
    this.lanes = node("div", { class: "lanes" });
    this.says = node("p", { class: "says", "aria-live": "polite" }, "");
    this.map = map;
    this.element = node("article", { class: "runtime", "aria-labelledby": title.id },
      node("div", { class: "strip" }, title, list), this.stuck, map.element, this.lanes, this.says);
    this.bars = new Map();
    this.tracks = new Map();
  }

  now(monitor) {
    const { sample, stalls } = monitor;
    say(this.values.lag, monitor.running ? long(monitor.lag_ms) : "not running");
    say(this.values.tasks, sample ? String(sample.tasks) : "–");
    say(this.values.queue, sample ? String(sample.queue_depth) : "–");
    say(this.values.busy, sample ? `${Math.round(sample.busy * 100)} %` : "–");
    say(this.values.stuck, String(stalls.length));
    if (monitor.requests) this.requests(monitor.requests);
    this.element.classList.toggle("stuck", stalls.length > 0);
    while (this.stuck.children.length > stalls.length) this.stuck.lastChild.remove();
    stalls.forEach((stall, index) => {
      let item = this.stuck.children[index];
      if (!item) {
        item = node("li", {}, node("strong"), " ", node("span"), " ", node("span", { class: "advice" }));
        this.stuck.append(item);
      }
      const [length, what, advice] = item.children;
      const culprit = stall.culprit ? `, in ${plain(stall.culprit)}` : "";
      say(length, `stuck for ${long(stall.duration_ms)}`);
      say(what, `${plain(stall.place)}: ${stall.why}${culprit}`);
      say(advice, stall.advice);
    });
  }

  /** How many requests were refused, once somebody sheds load. */
  requests({ admitted, refused }) {
    if (!this.values.refused) {
      this.values.refused = node("dd");
      this.values.lag.closest("dl").append(node("div", {}, node("dt", {}, "requests refused"), this.values.refused));
    }
    const reasons = Object.entries(refused).filter(([, count]) => count > 0);
    const all = reasons.reduce((sum, [, count]) => sum + count, 0);
    const why = all ? ` (${reasons.map(([reason, count]) => `${reason} ${count.toLocaleString()}`).join(", ")})` : "";
    say(this.values.refused, `${all.toLocaleString()} of ${(admitted + all).toLocaleString()}${why}`);
  }

  /** Draws the stalls from `from` to `to`, and the pauses of the process. */
  draw(stalls, pauses, from, to) {
    const seen = new Set();
    for (const stall of stalls) {
      const ends = stall.began_at + stall.duration_ms;
      if (ends < from || stall.began_at > to) continue;
      seen.add(stall.id);
      const track = this.track(stall);
      let bar = this.bars.get(stall.id);
      if (!bar) {
        bar = node("button", { type: "button", class: "bar", tabindex: "-1" });
        const tell = () => {
          this.told = bar;
          say(this.says, about(bar.stall));
        };
        bar.addEventListener("focus", tell);
        bar.addEventListener("mouseenter", tell);
        this.bars.set(stall.id, bar);
        track.append(bar);
      }
      const hasEnded = bar.stall?.open && !stall.open;
      bar.stall = stall;
      // Not each time that it grows: a screen reader reads it aloud.
      if (hasEnded && bar === this.told) say(this.says, about(stall));
      bar.dataset.cause = stall.cause;
      bar.classList.toggle("open", stall.open);
      bar.setAttribute("aria-label", about(stall));
      place(bar, stall.began_at, ends, from, to);
    }
    for (const [id, bar] of this.bars) {
      if (!seen.has(id)) {
        bar.remove();
        this.bars.delete(id);
      }
    }
    for (const track of this.tracks.values()) this.finish(track, pauses, from, to);
  }

  track(stall) {
    let track = this.tracks.get(stall.place);
    if (track) return track;
    track = node("div", { class: "track", role: "group", "aria-label": `stalls of ${plain(stall.place)}` });
    track.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      const bars = inOrder(track);
      const next = bars[bars.indexOf(document.activeElement) + step];
      if (next) next.focus();
      event.preventDefault();
    });
    this.tracks.set(stall.place, track);
    const lane = node("div", { class: "lane" }, node("span", { class: "name", title: plain(stall.place) }, plain(stall.place)), track);
    lane.key = `${{ worker: 0, root: 1, future: 2 }[stall.kind]} ${stall.place.padStart(24)}`;
    const after = [...this.lanes.children].find((other) => other.key > lane.key);
    this.lanes.insertBefore(lane, after ?? null);
    return track;
  }

  finish(track, pauses, from, to) {
    const bars = inOrder(track);
    if (bars.length === 0) {
      const [name] = [...this.tracks].find(([, other]) => other === track);
      this.tracks.delete(name);
      track.parentElement.remove();
      return;
    }
    // One stop of the tab key for each lane.
    const stop = bars.find((bar) => bar === document.activeElement) ?? bars[bars.length - 1];
    for (const bar of bars) bar.tabIndex = bar === stop ? 0 : -1;
    const gaps = [...track.querySelectorAll(".gap")];
    const shown = pauses.filter((pause) => pause.ended_at >= from);
    while (gaps.length < shown.length) {
      gaps.push(node("span", { class: "gap" }));
      track.append(gaps[gaps.length - 1]);
    }
    while (gaps.length > shown.length) gaps.pop().remove();
    shown.forEach((pause, index) => place(gaps[index], pause.ended_at - pause.duration_ms, pause.ended_at, from, to));
  }
}

function inOrder(track) {
  return [...track.querySelectorAll(".bar")].sort((one, other) => one.stall.began_at - other.stall.began_at);
}

function place(element, began, ends, from, to) {
  const left = Math.max(0, (began - from) / (to - from)) * 100;
  const right = Math.min(1, (ends - from) / (to - from)) * 100;
  element.style.left = `${left}%`;
  element.style.width = `${Math.max(0, right - left)}%`;
}

/** Rows of the table of culprits, which stay open when they are drawn anew. */
export class Culprits {
  constructor(body, trace) {
    Object.assign(this, { body, trace, open: new Set(), traces: new Map() });
  }

  draw(monitors) {
    const rows = monitors.flatMap((monitor) => monitor.culprits.map((culprit) => ({ monitor, culprit })));
    rows.sort((one, other) => other.culprit.total_ms - one.culprit.total_ms);
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const made = rows.slice(0, 100).flatMap(({ monitor, culprit }) => this.rows(monitor, culprit));
    if (made.length === 0) made.push(node("tr", {}, node("td", { colspan: "6" }, "No stall so far.")));
    for (const monitor of monitors) {
      if (monitor.other.stalls > 0) {
        made.push(node("tr", {}, number(long(monitor.other.total_ms)), number(monitor.other.stalls), number(""), number(""),
          node("td", {}, plain(monitor.name)), node("td", {}, "all others")));
      }
    }
    this.body.replaceChildren(...made);
    if (focused) this.body.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  rows(monitor, culprit) {
    const key = `${monitor.id}-${culprit.id}`;
    const is = this.open.has(key);
    const button = node("button", { type: "button", class: "open-row", "aria-expanded": String(is), "data-key": key }, plain(culprit.who));
    const row = node("tr", {}, number(long(culprit.total_ms)), number(culprit.stalls), number(long(culprit.longest_ms)),
      number(clock(culprit.last_seen)), node("td", {}, plain(monitor.name)), node("td", { class: "wide" }, button));
    const shown = [row];
    if (is) shown.push(this.details(monitor, culprit, key));
    button.addEventListener("click", () => {
      if (!this.open.delete(key)) this.open.add(key);
      this.trace(monitor.id, culprit, key);
    });
    return shown;
  }

  details(monitor, culprit, key) {
    const list = (parts, name) => parts.map((part) => `${plain(part[name])} (${part.cost.stalls}×, ${long(part.cost.total_ms)})`).join(", ");
    const trace = culprit.has_trace ? this.traces.get(key) ?? "loading …" : "No stack was taken. Build with the feature `stack` on Linux.";
    return node("tr", {}, node("td", { colspan: "6" },
      node("p", { class: "hint" }, culprit.advice ?? ""),
      node("p", { class: "hint" }, `Why: ${list(culprit.causes, "why")}. Where: ${list(culprit.places, "place")}. From ${clock(culprit.first_seen)} on.`),
      node("pre", { tabindex: "0", "aria-label": "the stack" }, trace.split("\n").map(plain).join("\n"))));
  }
}

function number(text) {
  return node("td", { class: "number" }, String(text));
}

export function stallRow(stall, name) {
  return node("tr", { class: stall.open ? "is-open" : null },
    number(clock(stall.began_at, true)), number(long(stall.duration_ms) + (stall.open ? " …" : "")),
    node("td", {}, `${plain(name)}: ${plain(stall.place)}`), node("td", {}, stall.why),
    node("td", { class: "wide" }, stall.culprit ? plain(stall.culprit) : "–"));
}
