// Builds elements. Text is only ever set as text: names come from recordings that others made.

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {object} [attributes] of the element; `text` is its text, `onclick` and the like its listeners
 * @param {(Node | null)[]} [children]
 */
export function element(tag, attributes = {}, children = []) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter(Boolean));
  return made;
}

const PATHS = {
  play: "M8 5.2v13.6a.8.8 0 0 0 1.2.7l11-6.8a.8.8 0 0 0 0-1.4l-11-6.8A.8.8 0 0 0 8 5.2z",
  pause: "M7 5h3.4v14H7zM13.6 5H17v14h-3.4z",
  loop: "M7 7h9.2l-1.6-1.6L16 4l4 4-4 4-1.4-1.4L16.2 9H7a3 3 0 0 0-3 3v1H2v-1a5 5 0 0 1 5-5zm10 10H7.8l1.6 1.6L8 20l-4-4 4-4 1.4 1.4L7.8 15H17a3 3 0 0 0 3-3v-1h2v1a5 5 0 0 1-5 5z",
  metronome: "M9.4 3h5.2L18.5 21h-13zm1.6 2-2.6 12h3.9l4.6-9.2 1.5.8L14.5 17h1.1L13 5zm-3.1 14-.1.4h8.4L16 19z",
  save: "M11 3h2v9.2l3.3-3.3 1.4 1.4L12 16l-5.7-5.7 1.4-1.4 3.3 3.3zM4 18h16v2H4z",
  plus: "M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z",
  minus: "M5 11h14v2H5z",
  speaker: "M4 9v6h4l5 4.5v-15L8 9zm11.5-.6v7.2a4 4 0 0 0 0-7.2zm0-4v2a6 6 0 0 1 0 11.2v2a8 8 0 0 0 0-15.2z",
  help: "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm1 15.5h-2v-2h2zm1.9-6.9-.9.9c-.7.7-1 1.3-1 2.5h-2c0-1.7.4-2.6 1.4-3.6l1.1-1.1a1.7 1.7 0 1 0-2.9-1.2h-2a3.7 3.7 0 1 1 6.3 2.5z",
  close: "M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12 19 17.6 17.6 19 12 13.4 6.4 19 5 17.6 10.6 12 5 6.4z",
};

/** @param {keyof typeof PATHS} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of [["viewBox", "0 0 24 24"], ["aria-hidden", "true"], ["class", "icon"]]) {
    svg.setAttribute(key, value);
  }
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A slider of the browser's own, which every keyboard and screen reader knows. */
export function slider({ label, min, max, step, value, describe, onmove, rest }) {
  const input = element("input", { type: "range", min, max, step, value, "aria-label": label, title: label });
  const show = () => {
    input.setAttribute("aria-valuetext", describe(Number(input.value)));
    input.title = `${label}: ${describe(Number(input.value))}`;
    input.style.setProperty("--at", `${((input.value - min) / (max - min)) * 100}%`);
  };
  input.addEventListener("input", () => {
    show();
    onmove(Number(input.value));
  });
  input.addEventListener("dblclick", () => {
    input.value = rest;
    show();
    onmove(rest);
  });
  /** Show a value that came from elsewhere. */
  input.show = (now) => {
    if (Number(input.value) !== now) input.value = now;
    show();
  };
  show();
  return input;
}

/** A button that is on or off. @param {boolean} on */
export function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}
