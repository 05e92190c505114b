// The component that Streamlit mounts; called again whenever the page has something new to say.

import { Session } from "./session.js";
import { View } from "./view.js";

// The key that Python gave -> Session; Streamlit's own is another one whenever it shows the component, and it may
// load this module anew.
const sessions = (globalThis[Symbol.for("audio-pipeline.uploader")] ??= new Map());
const showings = new WeakMap(); // the element that Streamlit gives -> {view, page, turn}

export default function mount({ data, parentElement, setStateValue, setTriggerValue }) {
  let session = sessions.get(data.key);
  if (session?.owner !== data.owner) {
    session?.close(); // Whoever was here before has signed out.
    session = new Session(data);
    sessions.set(data.key, session);
  }
  let showing = showings.get(parentElement);
  if (!showing) showings.set(parentElement, (showing = { view: new View(parentElement), page: { told: "[]" } }));
  const { view, page } = showing;
  page.ask = () => setTriggerValue("renew", Date.now());
  page.tell = (files) => {
    const said = JSON.stringify(files);
    if (said === page.told) return; // Every word to the page makes it run again.
    page.told = said;
    setStateValue("files", files);
  };
  view.show(session, data.texts, data.accept, (jobId) => setTriggerValue("open", jobId));
  session.attend(data, page);
  const turn = (showing.turn = Symbol("turn"));
  return () => {
    if (showing.turn !== turn) return; // Streamlit also ends a call that another one has overtaken.
    view.hide();
    session.leave(page);
  };
}
