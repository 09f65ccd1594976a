// Where models come from: the embedded one's files, fetched while Python starts, and one that the
// server fetches when it is first asked for.

const EMBEDDED = "python-16m";
const FILES = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "model.safetensors",
];
const AGAIN = 1000; // ms between two questions whether a model is there
const folder = (name) => new URL(`models/${name}/`, import.meta.url).href;

async function body(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

// The embedded model's folder in Pyodide's file system, whose files are JS memory. Its files are on
// their way when this returns, before Python stands.
export async function embedded(python) {
  const asked = Promise.all(FILES.map((file) => body(folder(EMBEDDED) + file)));
  asked.catch(() => {}); // told below, also where Python takes longer to fail
  const { FS } = (await python).pyodide;
  const location = `/models/${EMBEDDED}`;
  const bodies = await asked;
  FS.mkdirTree(location);
  FILES.forEach((file, i) => FS.writeFile(`${location}/${file}`, bodies[i], { canOwn: true }));
  return { name: EMBEDDED, location };
}

// The address of a model's folder, once the server has it.
export async function fetched(name, progress) {
  const url = `${folder(name)}config.json`;
  for (;;) {
    const response = await fetch(url);
    if (response.status === 503) throw new Error(`${url} answered 503: ${await response.text()}`);
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    if (response.status !== 202) return folder(name);
    progress("fetching", 0, 1);
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}
