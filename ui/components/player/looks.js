// Colours. A canvas needs them as values: they follow from the theme of the page.

// Each is told apart from the others and from a light and a dark page (3:1), also with red-green blindness.
const BY_NAME = { vocals: "#a855f7", drums: "#e0662b", bass: "#2f7fe0", other: "#0f9d8a", guitar: "#c98a04", piano: "#d6409f" };
const OTHERS = ["#a855f7", "#e0662b", "#2f7fe0", "#0f9d8a", "#c98a04", "#d6409f", "#5b8c2a", "#7c83f5"];
const RESIDUAL = "#8a8f98";
const UNHEARD = "#8a8f98";

/**
 * What of the theme a canvas needs.
 *
 * @returns {{page: string, cursor: string, loop: string}} page: as "#rrggbb"
 */
export function themeOf(root) {
  const style = getComputedStyle(root);
  const of = (name, fallback) => style.getPropertyValue(name).trim() || fallback;
  const accent = of("--st-primary-color", "#6d5efc");
  return {
    page: asHex(of("--st-background-color", "#ffffff")),
    cursor: of("--st-text-color", "#31333f"),
    loop: `color-mix(in srgb, ${accent} 20%, transparent)`,
  };
}

/**
 * The colours of a track.
 *
 * @param {{name: string, kind: string}} track
 * @param {number} index among the stems
 * @param {boolean} heard one that is not is grey
 * @param {string} page the background, "#rrggbb"
 * @returns {{colour: string, played: string, faded: string}} faded: of what is yet to be played
 */
export function lookOf(track, index, heard, page) {
  const own = Object.hasOwn(BY_NAME, track.name) ? BY_NAME[track.name] : OTHERS[index % OTHERS.length];
  const colour = track.kind === "residual" ? RESIDUAL : own;
  if (!heard) return { colour, played: mix(UNHEARD, page, 0.45), faded: mix(UNHEARD, page, 0.25) };
  return { colour, played: colour, faded: mix(colour, page, 0.45) };
}

// Solid colours: wavesurfer would draw what is played as thin as what is yet to be played.
function mix(one, other, share) {
  const parts = [1, 3, 5].map((at) => {
    const [a, b] = [one, other].map((colour) => parseInt(colour.slice(at, at + 2), 16));
    return Math.round(a * share + b * (1 - share));
  });
  return `#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

function asHex(colour) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = colour;
  return /^#[0-9a-f]{6}$/.test(context.fillStyle) ? context.fillStyle : "#ffffff";
}
