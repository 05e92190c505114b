// Keyboard shortcuts, for the listener and for the list that "?" shows. They work while the focus is in the player.

const JUMP_S = 5;

/**
 * @param {object} player what the keys act on: engine, faders, view
 * @param {object} texts
 * @returns {{shown: string, text: string, match: (event: KeyboardEvent) => boolean, run: (event: KeyboardEvent) => void}[]}
 */
export function shortcuts({ engine, faders, actions }, texts) {
  const key = (...keys) => (event) => !event.shiftKey && keys.includes(event.key.toLowerCase());
  const digit = (event) => /^Digit[1-9]$/.test(event.code);
  const track = (event) => actions.trackAt(Number(event.code.slice(5)) - 1);
  const toggle = (event, what) => {
    const name = track(event);
    if (name !== undefined) faders.move(name, { [what]: !faders.of(name)[what] });
  };
  return [
    { shown: texts.space, text: texts.play_or_pause, match: key(" "), run: actions.playOrPause },
    {
      shown: "← →",
      text: texts.jump,
      match: key("arrowleft", "arrowright"),
      run: ({ key: name }) => engine.seek(engine.currentTime + (name === "ArrowLeft" ? -JUMP_S : JUMP_S)),
    },
    {
      shown: texts.home_end,
      text: texts.start_or_end,
      match: key("home", "end"),
      run: ({ key: name }) => engine.seek(name === "Home" ? 0 : engine.duration),
    },
    { shown: "L", text: texts.loop, match: key("l"), run: actions.toggleLoop },
    { shown: "[ ]", text: texts.loop_edges, match: key("[", "]"), run: ({ key: name }) => actions.loopEdge(name) },
    { shown: "1 – 9", text: texts.mute_track, match: (e) => digit(e) && !e.shiftKey, run: (e) => toggle(e, "mute") },
    {
      shown: `${texts.shift} 1 – 9`,
      text: texts.solo_track,
      match: (e) => digit(e) && e.shiftKey,
      run: (e) => toggle(e, "solo"),
    },
    { shown: "B", text: texts.compare, match: key("b"), run: () => actions.setOriginal(!faders.original) },
    {
      shown: "K",
      text: texts.metronome,
      match: key("k"),
      run: actions.toggleMetronome,
    },
    { shown: "− +", text: texts.zoom, match: (e) => "-+=".includes(e.key), run: ({ key: name }) => actions.zoom(name === "-" ? -1 : 1) },
    { shown: "?", text: texts.shortcuts, match: (e) => e.key === "?", run: actions.help },
  ];
}

/** Listen. @param {HTMLElement} root @param {ReturnType<typeof shortcuts>} list @param {AbortSignal} signal */
export function listen(root, list, signal) {
  const onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const at = event.composedPath()[0];
    if (isTheirs(at, event)) return;
    const found = list.find((shortcut) => shortcut.match(event));
    if (!found) return;
    event.preventDefault();
    event.stopPropagation(); // the page around us has shortcuts of its own
    found.run(event);
  };
  root.addEventListener("keydown", onkeydown, { signal });
}

/** Whether the focused control wants this key itself. */
function isTheirs(at, event) {
  if (at.closest?.("dialog")) return true;
  if (at.matches?.("button")) return event.key === " " || event.key === "Enter";
  if (at.matches?.("input[type=range]")) return /^(Arrow|Home|End|Page)/.test(event.key);
  return at.matches?.("input, select, textarea") ?? false;
}
