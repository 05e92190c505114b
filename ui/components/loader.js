// Streamlit takes one module; a component is many. Each becomes an address of its own, in the order of their imports.
// The lines above this file, `const NAME = …`, `ENTRY` and `SOURCES`, are written by modules.py.

const addresses = new Map();

function addressOf(name) {
  if (!addresses.has(name)) {
    const linked = SOURCES[name]
      .replace(/^(import .*|\} )from "\.\/([\w.-]+)";$/gm, (_, start, file) => `${start}from "${addressOf(file)}";`)
      .replace(/\bnew URL\("\.\/([\w.-]+)", import\.meta\.url\)/g, (_, file) => `"${addressOf(file)}"`);
    const source = `${linked}\n//# sourceURL=${NAME}/${name}`;
    addresses.set(name, URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  }
  return addresses.get(name);
}

export default (await import(addressOf(ENTRY))).default;
