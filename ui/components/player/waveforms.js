// The waveforms: one wavesurfer, one of its channels a track, so that all scroll and zoom as one.

import WaveSurfer from "./wavesurfer.esm.js";
import Regions from "./regions.esm.js";
import Timeline from "./timeline.esm.js";
import { clock } from "./format.js";

const RULER_PX = 22;
const ZOOM_STEP = 1.6;
const MOST_PX_PER_S = 300;
const DRAG_PX = 6; // less is a click
const LOOP = "loop"; // id of the region that shows it

/** Emits `view` (what is visible has changed) and `region` (the user dragged a loop; detail: start, end). */
export class Waveforms extends EventTarget {
  /**
   * @param {HTMLElement} container
   * @param {import("./engine.js").Engine} engine stands in for the media element
   */
  constructor(container, engine) {
    super();
    this.container = container;
    this.engine = engine;
    this.factor = 1; // of the zoom: 1 shows everything
    this.surfer = null;
    this.region = null;
  }

  /**
   * Draw.
   *
   * @param {Float32Array[]} peaks one a track, 0 to 1
   * @param {{played: string, faded: string}[]} looks one a track: played, and yet to play
   * @param {{wave: number, head: number}} heights in pixels: of a waveform, and of the room above it
   * @param {{text: string, cursor: string, loop: string}} colours
   */
  draw(peaks, looks, heights, colours) {
    const { duration } = this.engine;
    if (!duration || !peaks.length) return;
    const [channels, split] = [[], []];
    peaks.forEach((track, i) => {
      if (heights.head) {
        channels.push(new Float32Array(track.length));
        split.push({ height: heights.head, waveColor: "transparent", progressColor: "transparent" });
      }
      channels.push(track);
      split.push({ height: heights.wave, waveColor: looks[i].faded, progressColor: looks[i].played });
    });
    this.colours = colours;
    const options = { splitChannels: split, cursorColor: colours.cursor };
    if (!this.surfer) this.#create({ ...options, peaks: channels, duration });
    else {
      this.surfer.options.splitChannels = split;
      this.surfer.options.cursorColor = colours.cursor;
      this.surfer.options.minPxPerSec = this.#pxPerSec();
      this.surfer.load("", channels, duration).catch(() => {}); // a newer one took its place
    }
    this.setLoop(this.engine.loop && this.#seconds(this.engine.loop));
  }

  /** Zoom in (1) or out (-1), round the play head. */
  zoom(direction) {
    const most = (MOST_PX_PER_S * this.engine.duration) / this.container.clientWidth;
    this.factor = Math.min(Math.max(this.factor * ZOOM_STEP ** direction, 1), Math.max(most, 1));
    if (!this.surfer) return;
    this.surfer.zoom(this.#pxPerSec());
    const [from, to] = this.visible();
    const now = this.engine.currentTime;
    if (this.factor > 1) this.surfer.setScrollTime(Math.max(now - (to - from) / 2, 0));
    this.#emit("view");
  }

  /** What is on the screen, in seconds. @returns {[number, number]} */
  visible() {
    const { duration } = this.engine;
    if (!this.surfer || !duration) return [0, duration || 1];
    const width = this.surfer.getWrapper().clientWidth || 1;
    const from = (this.surfer.getScroll() / width) * duration;
    return [from, from + (this.surfer.getWidth() / width) * duration];
  }

  /** Show a loop, or none. @param {{start: number, end: number} | null} seconds */
  setLoop(seconds) {
    if (!this.surfer) return;
    this.region?.remove();
    this.region = null;
    if (!seconds) return;
    this.region = this.regions.addRegion({ ...seconds, id: LOOP, color: this.colours.loop, drag: false, resize: true });
  }

  destroy() {
    this.surfer?.destroy();
  }

  #create(options) {
    this.regions = Regions.create();
    this.surfer = WaveSurfer.create({
      container: this.container,
      media: this.engine,
      cursorWidth: 2,
      barWidth: 2,
      barGap: 1,
      barRadius: 1,
      barHeight: 0.86,
      barMinHeight: 1,
      hideScrollbar: false,
      autoCenter: false,
      ...options,
      plugins: [this.regions, this.#ruler()],
    });
    for (const event of ["scroll", "zoom", "redrawcomplete", "resize"]) {
      this.surfer.on(event, () => this.#emit("view"));
    }
    this.surfer.on("error", () => {}); // only our own media could fail, and it says so itself
    this.regions.enableDragSelection({ color: this.colours.loop }, DRAG_PX);
    // What the user drags becomes the loop: setLoop draws it then.
    this.regions.on("region-created", (region) => {
      if (region.id === LOOP) return;
      const { start, end } = region;
      queueMicrotask(() => region.remove());
      this.#emit("region", { start, end });
    });
    this.regions.on("region-updated", ({ id, start, end }) => {
      if (id === LOOP) this.#emit("region", { start, end });
    });
  }

  #ruler() {
    return Timeline.create({
      height: RULER_PX,
      insertPosition: "beforebegin",
      formatTimeCallback: (seconds) => clock(seconds),
      secondaryLabelOpacity: 0.8,
      style: { fontSize: "11px", color: "inherit" },
    });
  }

  #pxPerSec() {
    return this.factor === 1 ? 0 : (this.factor * this.container.clientWidth) / this.engine.duration;
  }

  #seconds({ start, end }) {
    return { start: start / this.engine.sampleRate, end: end / this.engine.sampleRate };
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
