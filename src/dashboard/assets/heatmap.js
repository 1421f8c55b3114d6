// Lag over time: a column for each step, a row for each band of lag, the longest at the top. A single late sample
// among a million is as dark as the rest of its row would be: what counts is that there was one.

import { clock, long, node, say } from "./parts.js";

/** From here on a sample is drawn as late, in milliseconds. */
const LATE = 100;

export class HeatMap {
  constructor(monitor) {
    this.canvas = node("canvas", { "aria-hidden": "true" });
    this.cursor = node("span", { class: "cursor", hidden: "" });
    this.face = node("div", { class: "face", role: "slider", tabindex: "0", "aria-orientation": "horizontal",
      "aria-label": `lag of the runtime over time`, "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0" },
    this.canvas, this.cursor);
    this.map = node("div", { class: "map" }, this.face);
    this.ends = [node("span"), node("span")];
    this.says = node("p", { class: "says" });
    this.element = node("div", {}, this.map, node("div", { class: "ends" }, ...this.ends), this.says);
    this.monitor = monitor;
    this.data = { columns: [], bands_us: [], step_ms: 250 };
    this.chosen = null;
    this.face.addEventListener("mousemove", (event) => this.point(event));
    this.face.addEventListener("mouseleave", () => this.choose(null));
    this.face.addEventListener("blur", () => this.choose(null));
    this.face.addEventListener("keydown", (event) => this.key(event));
  }

  /** When the latest column of this range begins that is here. `null` if nothing of this range is. */
  latest(range) {
    if (this.range !== range) return null;
    const { columns } = this.data;
    return columns.length ? columns[columns.length - 1].at : 0;
  }

  /** Adds columns to those that are before the first of them. */
  add(range, scale, columns) {
    const isFirst = this.data.bands_us.length === 0;
    const first = columns.length ? columns[0].at : Infinity;
    const oldest = columns.length ? columns[columns.length - 1].at - range * 1000 : 0;
    const kept = this.range === range ? this.data.columns.filter((one) => one.at < first && one.at > oldest) : [];
    this.range = range;
    this.data = { ...scale, columns: [...kept, ...columns] };
    if (isFirst) this.axis();
  }

  axis() {
    const rows = this.data.bands_us.length + 1;
    this.data.bands_us.forEach((limit, index) => {
      if (index % 4 !== 0) return;
      const label = node("span", { class: "axis" }, round(limit));
      label.style.top = `${(1 - (index + 1) / rows) * 154}px`;
      this.map.append(label);
    });
  }

  /** `lag` is how late the runtime is by now. */
  draw(from, to, lag) {
    const [width, height, ratio] = [this.canvas.clientWidth, this.canvas.clientHeight, devicePixelRatio || 1];
    if (width === 0) return;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const styles = getComputedStyle(document.documentElement);
    const [calm, late, grid] = ["--calm", "--late", "--grid"].map((name) => styles.getPropertyValue(name).trim());
    const draw = this.canvas.getContext("2d");
    draw.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw.fillStyle = grid;
    draw.fillRect(0, 0, width, height);
    const { bands_us: limits, columns, step_ms: step } = this.data;
    const rows = limits.length + 1;
    const tall = height / rows;
    const x = (at) => (at - from) / (to - from) * width;
    const isLate = (band) => band > 0 && limits[band - 1] >= LATE * 1000;
    for (const column of columns) {
      for (const [band, count] of column.bands) {
        // A late sample has been late for so long.
        const began = isLate(band) ? Math.min(column.at, column.at + step - limits[band - 1] / 1000) : column.at;
        const [left, right] = [Math.max(0, x(began)), Math.min(width, x(column.at + step))];
        if (right <= 0 || left >= width) continue;
        const share = Math.min(1, Math.log2(1 + count) / 6);
        draw.fillStyle = isLate(band) ? `rgba(${late}, ${0.8 + 0.2 * share})` : `rgba(${calm}, ${0.3 + 0.7 * share})`;
        draw.fillRect(left, height - (band + 1) * tall, Math.max(2, right - left), tall - 0.5);
      }
    }
    if (lag >= LATE) {
      const band = limits.filter((limit) => limit <= lag * 1000).length;
      const left = Math.max(0, x(to - lag));
      draw.strokeStyle = `rgb(${late})`;
      draw.lineWidth = 2;
      draw.strokeRect(left + 1, height - (band + 1) * tall, width - left - 2, tall);
    }
    say(this.ends[0], clock(from));
    say(this.ends[1], clock(to));
    this.shown = { from, to, width };
    this.mark();
  }

  point(event) {
    const { from, to, width } = this.shown ?? {};
    if (!width) return;
    const at = from + event.offsetX / width * (to - from);
    const { columns, step_ms: step } = this.data;
    const column = columns.findLast((column) => column.at <= at);
    this.choose(column && at < column.at + Math.max(step, (to - from) / width * 4) ? column.at : null);
  }

  key(event) {
    const { columns } = this.data;
    if (columns.length === 0) return;
    const last = columns.length - 1;
    const index = columns.findIndex((column) => column.at === this.chosen);
    const here = index < 0 ? last : index;
    const next = { ArrowLeft: here - (index < 0 ? 0 : 1), ArrowRight: here + 1, ArrowDown: here - 1, ArrowUp: here + 1, PageDown: here - 20, PageUp: here + 20, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.choose(columns[Math.max(0, Math.min(last, next))].at);
  }

  choose(at) {
    this.chosen = at;
    this.mark();
  }

  /** Says the exact values of the column that is chosen. */
  mark() {
    const { columns, step_ms: step } = this.data;
    const index = columns.findIndex((column) => column.at === this.chosen);
    const column = columns[index];
    this.cursor.hidden = !column;
    this.face.setAttribute("aria-valuemax", String(Math.max(0, columns.length - 1)));
    this.face.setAttribute("aria-valuenow", String(Math.max(0, index)));
    const latest = columns[columns.length - 1];
    const text = column ? values(column, step) : latest ? `Longest lag shown: ${long(Math.max(...columns.map((one) => one.max_ms)))}` : "No samples yet";
    this.face.setAttribute("aria-valuetext", text);
    say(this.says, text);
    if (column && this.shown) {
      const { from, to, width } = this.shown;
      this.cursor.style.left = `${(column.at + step / 2 - from) / (to - from) * width}px`;
    }
  }
}

/** A power of ten, of microseconds. */
function round(limit) {
  if (limit < 1000) return `${limit} µs`;
  return limit < 1_000_000 ? `${limit / 1000} ms` : `${limit / 1_000_000} s`;
}

function values(column, step) {
  const missed = column.missed ? `, ${column.missed} missed` : "";
  return `${clock(column.at, step < 1000)}: ${column.samples} samples${missed}, longest lag ${long(column.max_ms)}, ` +
    `${column.tasks} tasks, queue ${column.queue_depth}, busy ${Math.round(column.busy * 100)} %`;
}
