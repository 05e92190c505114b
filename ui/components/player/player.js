// Ties a job's playback to its view, and both to Streamlit. Streamlit calls the component again at every change of its
// data: what plays goes on playing, and only what has changed is told.

import { Engine } from "./engine.js";
import { exportMix, save } from "./exporter.js";
import { Faders } from "./faders.js";
import { clock, fill, spoken } from "./format.js";
import { gainsOf } from "./gains.js";
import { listen, shortcuts } from "./keys.js";
import { Lanes } from "./lanes.js";
import { lookOf, themeOf } from "./looks.js";
import { Source } from "./source.js";
import { makeTrack, makeView, showBar } from "./view.js";
import { Waveforms } from "./waveforms.js";

const COMPACT_PX = 680;
const REDRAW_MS = 250; // parts come in bursts
const SPOKEN_MS = 1000;
const LATE_MS = 400;
const FIRST_LOOP_S = 8;
const AHEAD_S = 0.3; // the mixer stops before what it does not have
const BARS = 4; // of a first loop where the bars are known

const players = new WeakMap();

/** What Streamlit calls, at first and at every change. Returns what ends it. */
export default function show({ parentElement, data, setTriggerValue }) {
  const ask = () => setTriggerValue("ticket", Date.now());
  let player = players.get(parentElement);
  if (player?.isOf(data)) {
    player.update(data, ask);
  } else {
    player?.close();
    player = new Player(parentElement, data, ask);
    players.set(parentElement, player);
  }
  return () => {
    player.close();
    if (players.get(parentElement) === player) players.delete(parentElement);
  };
}

class Player {
  constructor(parent, data, ask) {
    this.data = data;
    this.ask = ask;
    this.ending = new AbortController();
    const { texts } = data;
    this.source = new Source(data.api_url, data.job_id, data.ticket, () => this.ask());
    this.faders = new Faders(data.job_id);
    this.engine = new Engine(this.source, this.faders);
    const actions = this.#actions();
    this.view = makeView(actions, this.faders, texts);
    this.waveforms = new Waveforms(this.view.waves, this.engine);
    this.lanes = new Lanes(this.view.laneHeads, this.view.lanes, (seconds) => this.engine.seek(seconds));
    this.rows = [];
    parent.append(this.view.root);
    const keys = shortcuts({ engine: this.engine, faders: this.faders, actions }, texts);
    this.view.help.fill(keys);
    listen(this.view.root, keys, this.ending.signal);
    this.#follow();
    this.update(data, ask);
    this.engine.open();
  }

  isOf({ job_id, api_url }) {
    return this.data.job_id === job_id && this.data.api_url === api_url;
  }

  /** Take new data: a new ticket, or what the analysis has found by now. */
  update(data, ask) {
    const analysis = JSON.stringify([data.lanes, data.beats, data.downbeats]);
    this.data = data;
    this.ask = ask;
    this.source.setTicket(data.ticket);
    if (analysis !== this.analysis) {
      this.analysis = analysis;
      this.engine.setBeats(data.beats, data.downbeats);
      this.lanes.set(data.lanes, data.beats, new Set(data.downbeats), data.texts);
    }
    this.#show(); // in the colours of the theme, which may have changed, too
  }

  close() {
    this.ending.abort();
    this.exporting?.abort();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.redrawing);
    this.engine.close();
    this.waveforms.destroy();
    this.view.root.remove();
  }

  #actions() {
    const { engine, faders } = this;
    return {
      playOrPause: () => (engine.paused ? engine.play() : engine.pause()),
      toggleLoop: () => engine.setLoop(engine.loop ? null : this.#firstLoop()),
      loopEdge: (key) => this.#loopEdge(key),
      setOriginal: (original) => faders.set({ original }),
      toggleMetronome: () => faders.set({ metronome: !faders.metronome }),
      zoom: (direction) => this.waveforms.zoom(direction),
      help: () => this.view.help.root.showModal(),
      retry: () => engine.retry(),
      exportMix: () => this.#export(),
      trackAt: (index) => this.#stems()[index]?.name,
    };
  }

  #follow() {
    const { engine, faders, waveforms, ending } = this;
    const { signal } = ending;
    engine.addEventListener("tracks", () => this.#makeRows());
    engine.addEventListener("peaks", () => this.#redraw());
    for (const event of ["state", "durationchange"]) engine.addEventListener(event, () => this.#show());
    engine.addEventListener("durationchange", () => this.#redraw());
    for (const event of ["timeupdate", "play", "pause", "state"]) engine.addEventListener(event, () => this.#tick());
    engine.addEventListener("loop", () => {
      waveforms.setLoop(engine.loop && { start: engine.loop.start / engine.sampleRate, end: engine.loop.end / engine.sampleRate });
      this.#show();
    });
    faders.addEventListener("change", () => this.#show());
    waveforms.addEventListener("view", () => this.#drawLanes());
    waveforms.addEventListener("region", ({ detail }) => engine.setLoop(detail));
    const sizes = new ResizeObserver(() => this.#resize());
    sizes.observe(this.view.root);
    signal.addEventListener("abort", () => sizes.disconnect());
  }

  #stems() {
    return this.engine.tracks.filter((track) => track.kind !== "mix");
  }

  #title(name) {
    return Object.hasOwn(this.data.titles, name) ? this.data.titles[name] : name;
  }

  #makeRows() {
    const { faders, data } = this;
    this.rows = this.#stems().map((track, i) => makeTrack(track, this.#title(track.name), i, faders, data.texts));
    this.view.heads.replaceChildren(...this.rows.map((row) => row.root));
    this.#show();
    this.#redraw();
  }

  #looks() {
    const gains = gainsOf(this.engine.tracks, this.faders);
    const { page } = themeOf(this.view.root);
    return this.#stems().map((track, i) => {
      const heard = gains[track.name].some((value) => value !== 0);
      return { heard, ...lookOf(track, i, heard || this.faders.original, page) };
    });
  }

  #show() {
    const { engine, faders, view, data } = this;
    const looks = this.#looks();
    view.root.classList.toggle("empty", this.rows.length === 0);
    this.rows.forEach((row, i) => row.show(looks[i].heard, looks[i].colour));
    showBar(view.bar, engine, faders, data.texts);
    view.veil.hidden = !faders.original;
    const shown = JSON.stringify(looks);
    if (shown !== this.shownLooks) this.#redraw();
    this.shownLooks = shown;
    view.waves.setAttribute("aria-valuemax", engine.duration.toFixed(1));
    this.#tell();
  }

  #tell() {
    const { engine, view, data } = this;
    if (engine.state !== "buffering") this.silentSince = undefined;
    const { texts } = data;
    let news = "";
    if (engine.trouble) news = texts[`trouble_${engine.trouble.kind}`] ?? texts.trouble_failed;
    else if (engine.state === "opening") news = texts.opening;
    else if (engine.state === "buffering" && this.#isLate()) news = this.#ranOut() ? texts.waiting : texts.buffering;
    else if (this.exportNews) news = this.exportNews;
    else if (!engine.supply.audio.complete) news = engine.supply.begun ? texts.running : texts.first;
    if (view.news.textContent !== news) view.news.textContent = news;
    view.news.dataset.kind = engine.state;
    view.retry.hidden = engine.state !== "error";
  }

  /** Whether sound has been missing for so long that it is worth a word. */
  #isLate() {
    const now = performance.now();
    this.silentSince ??= now;
    const left = LATE_MS - (now - this.silentSince);
    if (left > 0) setTimeout(() => !this.ending.signal.aborted && this.#tell(), left);
    return left <= 0;
  }

  /** Whether what is missing has not been made yet. */
  #ranOut() {
    const { engine } = this;
    const next = (engine.currentTime + AHEAD_S) * engine.sampleRate;
    const number = Math.floor(Math.min(next, engine.samples - 1) / engine.supply.partSamples);
    return this.#stems().some((track) => !engine.supply.offers(track, number));
  }

  #redraw() {
    this.redrawing ??= setTimeout(() => {
      this.redrawing = undefined;
      if (this.ending.signal.aborted || !this.engine.supply?.audio) return;
      const { engine, view } = this;
      const names = this.#stems().map((track) => track.name);
      const peaks = engine.peaks.drawn(names, engine.samples, engine.supply.partSamples);
      const { wave, head } = sizesOf(view.root);
      this.waveforms.draw(peaks, this.#looks(), { wave, head }, themeOf(view.root));
      this.#drawLanes();
    }, REDRAW_MS);
  }

  #resize() {
    const compact = this.view.root.clientWidth < COMPACT_PX;
    if (this.view.root.classList.contains("compact") !== compact) {
      this.view.root.classList.toggle("compact", compact);
      this.#redraw();
    }
    this.#drawLanes();
  }

  #drawLanes() {
    this.lanes.draw(this.waveforms.visible());
    this.lanes.follow(this.engine.currentTime);
  }

  #tick() {
    cancelAnimationFrame(this.frame);
    const { engine, view, data } = this;
    const seconds = engine.currentTime;
    const text = clock(seconds, true);
    if (view.bar.now.textContent !== text) view.bar.now.textContent = text;
    this.lanes.follow(seconds);
    const now = performance.now();
    if (engine.paused || now - (this.spoken ?? 0) > SPOKEN_MS) {
      this.spoken = now;
      view.waves.setAttribute("aria-valuenow", seconds.toFixed(1));
      const fields = { now: spoken(seconds, data.texts), all: spoken(engine.duration, data.texts) };
      view.waves.setAttribute("aria-valuetext", fill(data.texts.now_of_all, fields));
    }
    // While it waits nothing moves, and whoever separates needs the processor.
    if (engine.state === "playing") this.frame = requestAnimationFrame(() => this.#tick());
  }

  /** Four bars from here, where bars are known. */
  #firstLoop() {
    const { engine, data } = this;
    const now = engine.currentTime;
    const bar = data.downbeats.findLastIndex((time) => time <= now + 0.05);
    const end = data.downbeats[bar + BARS];
    if (bar >= 0 && end !== undefined) return { start: data.downbeats[bar], end };
    return { start: now, end: Math.min(now + FIRST_LOOP_S, engine.duration) };
  }

  #loopEdge(key) {
    const { engine } = this;
    const now = engine.currentTime;
    const [start, end] = engine.loop
      ? [engine.loop.start / engine.sampleRate, engine.loop.end / engine.sampleRate]
      : [0, engine.duration];
    if (key === "[") engine.setLoop({ start: now, end: end > now ? end : engine.duration });
    else engine.setLoop({ start: start < now ? start : 0, end: now });
  }

  async #export() {
    if (this.exporting) {
      this.exporting.abort();
      return;
    }
    const { texts, title } = this.data;
    this.exporting = new AbortController();
    const label = this.view.bar.save.lastChild;
    const onprogress = (done) => (label.textContent = fill(texts.exporting, { percent: Math.round(done * 100) }));
    try {
      const { file, clipped } = await exportMix(this.engine, onprogress, this.exporting.signal);
      save(file, `${fileName(title)} - ${texts.mix_file}.wav`);
      this.exportNews = clipped ? texts.clipped : texts.exported;
    } catch (error) {
      this.exportNews = error.name === "AbortError" ? "" : (texts[`trouble_${error.kind}`] ?? texts.trouble_failed);
    } finally {
      this.exporting = null;
      label.textContent = texts.export;
      this.#tell();
    }
  }
}

/** What every file system takes. */
function fileName(title) {
  return title.replace(/[\p{C}/\\:*?"<>|]/gu, "_").replace(/^\.+/, "").slice(0, 100) || "mix";
}

function sizesOf(root) {
  const style = getComputedStyle(root);
  const pixels = (name) => Math.round(parseFloat(style.getPropertyValue(name)));
  return { wave: pixels("--wave"), head: root.classList.contains("compact") ? pixels("--head") : 0 };
}
