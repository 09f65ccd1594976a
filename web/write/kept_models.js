// Models kept in the browser's origin-private file system, quantized, as tt.save writes them:
//
//   models/ID/config.json, tokenizer.json, model.safetensors, …
//   models/ID/kept.json   {name, from, bytes, kept}; written last: a folder without it is half a model
//   models/ID/used        when it was opened last, in ms since 1970
//
// ID is a hash of where the model came from, so that it is found when it is opened from there again.
// Half a model is never listed, and removed by whoever next looks. Tabs take turns by a lock on each
// ID: exclusive to write and to remove, shared to read. Both a window and a worker may list and
// remove; only a worker may write, since only there are sync access handles.

const FOLDER = "models";
const RECORD = "kept.json";
const USED = "used";

export const able = () => Boolean(globalThis.navigator.locks && navigator.storage?.getDirectory);

const top = async () =>
  (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });

async function text(folder, name) {
  const file = await (await folder.getFileHandle(name)).getFile();
  return file.text();
}

// What a folder says of itself; undefined for half a model.
async function record(folder) {
  try {
    const found = JSON.parse(await text(folder, RECORD));
    const used = Number(await text(folder, USED).catch(() => 0)) || found.kept;
    return typeof found.name === "string" ? { ...found, used } : undefined;
  } catch {
    return undefined;
  }
}

// The kept models, the one used last first.
export async function list() {
  if (!able()) return [];
  try {
    const found = [];
    for await (const [id, folder] of (await top()).entries()) {
      const about = await record(folder);
      if (about) found.push({ id, ...about });
      else sweep(id).catch(() => {}); // somebody else may be at it
    }
    return found.sort((a, b) => b.used - a.used);
  } catch {
    return []; // storage is forbidden, as in some private windows
  }
}

// {folder, name, …} of a kept model, or undefined.
export async function find(id) {
  try {
    const folder = await (await top()).getDirectoryHandle(id);
    const about = await record(folder);
    return about && { folder, ...about };
  } catch {
    return undefined;
  }
}

// Takes the lock on an ID, and resolves to the function that gives it back.
export function hold(id, mode, signal) {
  return new Promise((resolve, reject) => {
    const held = () => new Promise(resolve);
    navigator.locks.request(`tensortab.model.${id}`, { mode, signal }, () => held()).catch(reject);
  });
}

// Removes a model unless a tab reads or writes it right now; whether it is gone.
export function remove(id) {
  return navigator.locks.request(`tensortab.model.${id}`, { ifAvailable: true }, async (lock) => {
    if (lock) await (await top()).removeEntry(id, { recursive: true });
    return Boolean(lock);
  });
}

function sweep(id) {
  return navigator.locks.request(`tensortab.model.${id}`, { ifAvailable: true }, async (lock) => {
    if (lock && !(await find(id))) await (await top()).removeEntry(id, { recursive: true });
  });
}

// The ID of what a place names: a URL, or a folder's name and its files.
export async function identify({ name, url, files }) {
  const facts = files?.map((file) => [file.name, file.size, file.lastModified]).sort();
  const bytes = new TextEncoder().encode(JSON.stringify(url ?? [name, facts]));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...hash.subarray(0, 12)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function put(folder, name, what) {
  const handle = await (await folder.getFileHandle(name, { create: true })).createSyncAccessHandle();
  try {
    const bytes = new TextEncoder().encode(what);
    handle.truncate(bytes.length);
    handle.write(bytes, { at: 0 });
    handle.flush();
  } finally {
    handle.close();
  }
}

export const touch = (folder) => put(folder, USED, String(Date.now()));

// The folder that tt.save writes a model to; who makes it holds its lock.
export async function draft(id, about) {
  const models = await top();
  await models.removeEntry(id, { recursive: true }).catch(() => {}); // half a model of a tab that ended
  const folder = await models.getDirectoryHandle(id, { create: true });
  const files = new Map();
  let bytes = 0;
  const close = () => {
    for (const handle of files.values()) handle.close();
    files.clear();
  };
  return {
    async create(name, nbytes) {
      const { quota, usage } = await navigator.storage.estimate();
      if (usage + nbytes > quota) {
        const free = Math.max(quota - usage, 0);
        throw new DOMException(`${nbytes} bytes are needed, ${free} are free`, "QuotaExceededError");
      }
      const file = await folder.getFileHandle(name, { create: true });
      const handle = await file.createSyncAccessHandle();
      files.set(name, handle);
      handle.truncate(nbytes); // some browsers only now see that there is no room
      bytes += nbytes;
    },
    async write(name, at, data) {
      for (let done = 0; done < data.length; ) {
        const wrote = files.get(name).write(data.subarray(done), { at: at + done });
        if (!wrote) throw new DOMException("nothing was written", "QuotaExceededError");
        done += wrote;
      }
      // Left to the garbage collector, hundreds of megabytes would pile up (weights/body.py).
      data.buffer.transfer?.(0);
    },
    async commit() {
      for (const handle of files.values()) handle.flush();
      close();
      const now = Date.now();
      await put(folder, USED, String(now));
      await put(folder, RECORD, JSON.stringify({ ...about, bytes, kept: now }));
    },
    async discard() {
      close();
      await models.removeEntry(id, { recursive: true });
    },
  };
}
