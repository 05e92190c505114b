// Saves files of a job. The ticket goes in a header, never in an address, so that none ends up in a history or a log.

const WHOLE_BYTES = 256 * 2 ** 20; // what is kept in memory where the browser cannot write a file piece by piece
const ASK_MS = 20_000;

const places = new WeakMap(); // parentElement -> {ticket, waiting}

export default function downloads({ parentElement, data, setTriggerValue }) {
  const place = places.get(parentElement) ?? { ticket: null, refused: null, waiting: [], busy: new Set() };
  places.set(parentElement, place);
  place.ask = () => setTriggerValue("renew", Date.now());
  place.data = data;
  if (data.ticket !== place.refused) {
    place.ticket = data.ticket;
    for (const go of place.waiting.splice(0)) go();
  }
  const list = parentElement.querySelector("ul");
  const shown = JSON.stringify(data.files);
  if (place.shown === shown) return; // what is being saved goes on
  place.shown = shown;
  list.replaceChildren(...data.files.map((file) => row(place, file)));
}

function row(place, file) {
  const item = document.createElement("li");
  const label = document.createElement("span");
  const detail = document.createElement("small");
  const button = document.createElement("button");
  const state = document.createElement("span");
  label.textContent = file.label;
  detail.textContent = file.detail;
  label.append(detail);
  button.type = "button";
  button.textContent = place.data.texts.save;
  button.setAttribute("aria-label", `${place.data.texts.save}: ${file.label}, ${file.detail}`);
  state.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    button.disabled = true;
    state.textContent = place.data.texts.saving;
    try {
      await save(place, file, (part) => (state.textContent = `${place.data.texts.saving} ${part}`));
      state.textContent = place.data.texts.saved;
    } catch (error) {
      state.textContent = error.name === "AbortError" ? "" : place.data.texts[error.word ?? "failed"];
    }
    button.disabled = false;
  });
  item.append(label, state, button);
  return item;
}

async function save(place, file, tell) {
  // The dialogue must be opened by the click itself: after an answer of the service it would be too late.
  const streamed = (file.bytes === null || file.bytes > WHOLE_BYTES) && "showSaveFilePicker" in window;
  const handle = streamed ? await window.showSaveFilePicker({ suggestedName: file.name }) : null;
  const answer = await ask(place, file.path);
  if (handle) {
    await answer.body.pipeThrough(counter(file.bytes, tell)).pipeTo(await handle.createWritable());
    return;
  }
  const blob = await new Response(answer.body.pipeThrough(counter(file.bytes, tell))).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function ask(place, path) {
  for (let attempt = 0; ; attempt++) {
    const ticket = place.ticket;
    const answer = await fetch(place.data.api_url + path, { headers: { "X-Ticket": ticket } });
    if (answer.ok) return answer;
    if (answer.status === 404 || answer.status === 410) throw Object.assign(new Error(path), { word: "gone" });
    if ((answer.status !== 401 && answer.status !== 403) || attempt) throw new Error(`HTTP ${answer.status}`);
    place.refused = ticket;
    await new Promise((resolve, reject) => {
      place.waiting.push(resolve);
      setTimeout(() => reject(new Error("no new ticket")), ASK_MS);
      place.ask();
    });
  }
}

function counter(whole, tell) {
  let bytes = 0;
  let told = 0;
  return new TransformStream({
    transform(piece, controller) {
      bytes += piece.byteLength;
      if (performance.now() - told > 200) {
        told = performance.now();
        tell(whole ? `${Math.floor((100 * bytes) / whole)} %` : `${Math.round(bytes / 1e6)} MB`);
      }
      controller.enqueue(piece);
    },
  });
}
