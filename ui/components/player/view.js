// The elements of the player: a bar of controls, a row of faders a track, room for waveforms and lanes, a line of news.

import { element, icon, press, slider } from "./elements.js";
import { clock, decibels, fill, side } from "./format.js";
import { VOLUME_MAX, amplitude } from "./gains.js";

const SLOWEST = 0.5;
const FASTEST = 1.5;

/** @param {object} actions what the controls do @param {object} texts */
export function makeView(actions, faders, texts) {
  const bar = makeBar(actions, faders, texts);
  const heads = element("div", { class: "heads" });
  const waves = element("div", {
    class: "waves",
    role: "slider",
    tabindex: "0",
    "aria-label": texts.position,
    "aria-valuemin": "0",
    "aria-valuemax": "0",
    "aria-valuenow": "0",
  });
  const veil = element("div", { class: "veil", "aria-hidden": "true" }, [element("span", { text: texts.original_veil })]);
  const laneHeads = element("div", { class: "lane-heads", role: "group", "aria-label": texts.now_playing });
  const lanes = element("div", { class: "lanes" });
  const news = element("p", { class: "news", role: "status", "aria-live": "polite" });
  const retry = element("button", { type: "button", class: "quiet", text: texts.retry, hidden: true, onclick: actions.retry });
  const help = makeHelp(texts);
  const stage = element("div", { class: "stage" }, [heads, waves, veil, laneHeads, lanes]);
  const root = element("section", { class: "player", "aria-label": texts.player }, [
    bar.root,
    stage,
    element("div", { class: "foot" }, [news, retry]),
    help.root,
  ]);
  return { root, stage, heads, waves, veil, laneHeads, lanes, news, retry, help, bar };
}

function makeBar(actions, faders, texts) {
  const button = (name, label, onclick, attributes = {}) =>
    element("button", { type: "button", class: "tool", "aria-label": label, title: label, onclick, ...attributes }, [icon(name)]);
  const play = element("button", { type: "button", class: "play", onclick: actions.playOrPause }, []);
  const now = element("span", { class: "now-time" });
  const total = element("span", { class: "total-time" });
  const stems = element("button", { type: "button", text: texts.stems, onclick: () => actions.setOriginal(false) });
  const original = element("button", { type: "button", text: texts.original, onclick: () => actions.setOriginal(true) });
  const loop = button("loop", texts.loop, actions.toggleLoop, { "aria-pressed": "false" });
  const metronome = button("metronome", texts.metronome, actions.toggleMetronome, { "aria-pressed": "false" });
  const percent = (value) => decibels(amplitude(value), texts);
  const click = slider({
    label: texts.metronome_volume, min: 0, max: VOLUME_MAX, step: 1, value: faders.click, rest: 70,
    describe: percent, onmove: (value) => faders.set({ click: value }),
  });
  const speed = slider({
    label: texts.speed, min: SLOWEST, max: FASTEST, step: 0.05, value: faders.rate, rest: 1,
    describe: (value) => times(value), onmove: (value) => faders.set({ rate: value }),
  });
  const normal = element("button", {
    type: "button", class: "reading", title: texts.normal_speed, onclick: () => faders.set({ rate: 1 }),
  });
  const master = slider({
    label: texts.master, min: 0, max: VOLUME_MAX, step: 1, value: faders.master, rest: 100,
    describe: percent, onmove: (value) => faders.set({ master: value }),
  });
  const zoomOut = button("minus", texts.zoom_out, () => actions.zoom(-1));
  const zoomIn = button("plus", texts.zoom_in, () => actions.zoom(1));
  const save = element("button", { type: "button", class: "quiet export", onclick: actions.exportMix }, [
    icon("save"),
    element("span", { text: texts.export }),
  ]);
  const help = button("help", texts.shortcuts, actions.help);
  const group = (name, children) => element("div", { class: `group ${name}` }, children);
  const root = element("div", { class: "bar", role: "group", "aria-label": texts.controls }, [
    group("transport", [play, element("div", { class: "time" }, [now, total])]),
    element("div", { class: "group compare", role: "group", "aria-label": texts.compare }, [stems, original]),
    group("beat", [loop, metronome, click]),
    group("speed", [element("span", { class: "caption", text: texts.speed, "aria-hidden": "true" }), speed, normal]),
    group("master", [icon("speaker"), master]),
    group("zoom", [zoomOut, zoomIn]),
    group("more", [save, help]),
  ]);
  return { root, play, now, total, stems, original, loop, metronome, click, speed, normal, master, save };
}

function makeHelp(texts) {
  const rows = element("dl");
  const close = element("button", { type: "button", class: "tool", "aria-label": texts.close, title: texts.close }, [icon("close")]);
  const root = element("dialog", { class: "help", "aria-label": texts.shortcuts }, [
    element("header", {}, [element("h2", { text: texts.shortcuts }), close]),
    rows,
  ]);
  close.addEventListener("click", () => root.close());
  return {
    root,
    /** @param {{shown: string, text: string}[]} list */
    fill(list) {
      rows.replaceChildren(
        ...list.map(({ shown, text }) => element("div", {}, [element("dt", { text: shown }), element("dd", { text })])),
      );
    },
  };
}

/** The faders of a track. `show` brings them to where `faders` stand. */
export function makeTrack(track, title, index, faders, texts) {
  const { name } = track;
  const named = (text) => fill(text, { track: title });
  const toggle = (what, letter, label) =>
    element("button", {
      type: "button", class: `letter ${what}`, text: letter, "aria-label": named(label), title: named(label),
      onclick: () => faders.move(name, { [what]: !faders.of(name)[what] }),
    });
  const mute = toggle("mute", texts.mute_letter, texts.mute);
  const solo = toggle("solo", texts.solo_letter, texts.solo);
  const volume = slider({
    label: named(texts.volume), min: 0, max: VOLUME_MAX, step: 1, value: faders.of(name).volume, rest: 100,
    describe: (value) => decibels(amplitude(value), texts), onmove: (value) => faders.move(name, { volume: value }),
  });
  const pan = slider({
    label: named(texts.pan), min: -100, max: 100, step: 1, value: faders.of(name).pan, rest: 0,
    describe: (value) => side(value, texts), onmove: (value) => faders.move(name, { pan: value }),
  });
  pan.classList.add("pan");
  const root = element("div", { class: "head", role: "group", "aria-label": title, style: `--row: ${index}` }, [
    element("div", { class: "title" }, [
      element("i", { class: "dot" }),
      element("span", { class: "name", text: title, title }),
      mute,
      solo,
    ]),
    element("div", { class: "sliders" }, [volume, letter(texts.left_letter), pan, letter(texts.right_letter)]),
  ]);
  return {
    root,
    show(heard, colour) {
      const now = faders.of(name);
      press(mute, now.mute);
      press(solo, now.solo);
      volume.show(now.volume);
      pan.show(now.pan);
      root.classList.toggle("unheard", !heard);
      root.style.setProperty("--colour", colour);
    },
  };
}

function letter(text) {
  return element("span", { text, "aria-hidden": "true" });
}

/** Bring the bar to what the engine and the faders say. */
export function showBar(bar, engine, faders, texts) {
  const playing = !engine.paused;
  if (bar.play.dataset.playing !== String(playing)) {
    bar.play.dataset.playing = String(playing);
    bar.play.replaceChildren(icon(playing ? "pause" : "play"));
    bar.play.setAttribute("aria-label", playing ? texts.pause : texts.play);
    bar.play.title = playing ? texts.pause : texts.play;
  }
  bar.play.dataset.state = engine.state;
  bar.play.disabled = !engine.supply?.audio;
  press(bar.stems, !faders.original);
  press(bar.original, faders.original);
  bar.original.disabled = bar.stems.disabled = !engine.tracks.some((track) => track.kind === "mix");
  press(bar.loop, engine.loop !== null);
  press(bar.metronome, faders.metronome);
  bar.metronome.hidden = engine.beats.beats.length === 0;
  bar.click.hidden = !faders.metronome || bar.metronome.hidden;
  bar.click.show(faders.click);
  bar.speed.show(faders.rate);
  bar.normal.textContent = times(faders.rate);
  bar.master.show(faders.master);
  bar.save.disabled = !engine.supply?.audio?.complete;
  bar.total.textContent = `/ ${clock(engine.duration)}`;
}

function times(rate) {
  return `${rate.toFixed(2)}×`;
}
