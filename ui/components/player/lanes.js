// What follows the play head below the waveforms: beats, and lanes of labels such as chords and sections.
// Only what is visible exists: a long mix has thousands of labels.

import { element } from "./elements.js";

const LETTER_PX = 7; // an item that its label does not fit into shows none
const PADDING_PX = 10;
const HEAD_PX = 2; // width of the play head
const DENSEST_PX = 3; // beats that are closer are left out, down to the first of each bar

/** One strip a lane, all drawn for the same stretch of time. */
export class Lanes {
  /**
   * @param {HTMLElement} heads takes the names of the lanes
   * @param {HTMLElement} strips takes the lanes
   * @param {(seconds: number) => void} seek
   */
  constructor(heads, strips, seek) {
    this.heads = heads;
    this.strips = strips;
    this.list = [];
    this.range = [0, 1];
    this.head = element("div", { class: "playhead" });
    strips.addEventListener("click", ({ clientX }) => {
      const { left, width } = strips.getBoundingClientRect();
      const [from, to] = this.range;
      seek(from + ((clientX - left) / width) * (to - from));
    });
  }

  /**
   * @param {{name: string, items: {start_s: number, end_s: number, label: string}[]}[]} lanes
   * @param {number[]} beats seconds
   * @param {Set<number>} downbeats
   * @param {object} texts
   */
  set(lanes, beats, downbeats, texts) {
    this.beats = beats;
    this.downbeats = downbeats;
    this.list = lanes.filter((lane) => lane.items.length).map((lane) => ({ ...lane, ...this.#row(lane.name) }));
    const rows = [...this.list];
    this.beatRow = beats.length ? this.#row(texts.beats) : null;
    if (this.beatRow) rows.unshift(this.beatRow);
    this.heads.replaceChildren(...rows.map((row) => row.head));
    this.strips.replaceChildren(...rows.map((row) => row.strip), this.head);
    this.strips.hidden = this.heads.hidden = rows.length === 0;
    this.draw(this.range);
  }

  /** @param {[number, number]} range seconds that are visible */
  draw(range) {
    this.range = range;
    const [from, to] = range;
    const scale = this.strips.clientWidth / Math.max(to - from, 0.001);
    if (this.beatRow) this.#drawBeats(from, to, scale);
    for (const lane of this.list) {
      const { strip, items } = lane;
      lane.marked = null; // the marks go with what is replaced
      const shown = items.slice(firstWhere(items, (item) => item.end_s > from));
      const end = shown.findIndex((item) => item.start_s >= to);
      strip.replaceChildren(
        ...(end < 0 ? shown : shown.slice(0, end)).map((item) => {
          const left = (Math.max(item.start_s, from) - from) * scale;
          const width = (Math.min(item.end_s, to) - from) * scale - left;
          const made = element("span", { class: "item", text: fits(item.label, width) ? item.label : "" });
          made.style.left = `${left}px`;
          made.style.width = `${Math.max(width - 1, 1)}px`;
          made.title = item.label;
          made.item = item;
          return made;
        }),
      );
    }
  }

  /** Follow the play head. @param {number} seconds */
  follow(seconds) {
    const [from, to] = this.range;
    const at = (seconds - from) / (to - from);
    this.head.hidden = at < 0 || at > 1;
    this.head.style.transform = `translateX(${at * (this.strips.clientWidth - HEAD_PX)}px)`;
    for (const lane of this.list) {
      const found = lane.items[firstWhere(lane.items, ({ end_s }) => end_s > seconds)];
      const item = found?.start_s <= seconds ? found : undefined;
      if (lane.marked === item) continue; // this is called for every picture on the screen
      lane.marked = item;
      lane.now.textContent = item?.label ?? "";
      for (const made of lane.strip.children) made.classList.toggle("current", made.item === item);
    }
  }

  #row(name) {
    const now = element("span", { class: "now" });
    const head = element("div", { class: "lane-head" }, [element("span", { class: "lane-name", text: name }), now]);
    return { head, now, strip: element("div", { class: "lane", "aria-hidden": "true" }) };
  }

  #drawBeats(from, to, scale) {
    const { beats, downbeats } = this;
    const first = firstWhere(beats, (beat) => beat >= from);
    const last = firstWhere(beats, (beat) => beat > to);
    const dense = ((last - first) * DENSEST_PX) / (this.strips.clientWidth || 1) > 1;
    const ticks = [];
    for (let i = first; i < last; i++) {
      const downbeat = downbeats.has(beats[i]);
      if (dense && !downbeat) continue;
      const tick = element("i", { class: downbeat ? "tick downbeat" : "tick" });
      tick.style.left = `${(beats[i] - from) * scale}px`;
      ticks.push(tick);
    }
    this.beatRow.strip.replaceChildren(...ticks);
  }
}

function fits(label, width) {
  return label.length * LETTER_PX + PADDING_PX < width;
}

/** Index of the first for which it is true, in a list where it is for all after it. */
function firstWhere(list, isTrue) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isTrue(list[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}
