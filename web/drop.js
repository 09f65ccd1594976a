// Files and folders dropped anywhere on the page, for the view that is shown: a file dropped beside
// a text area must not navigate away from the page.

export function onFilesDropped(section, take) {
  addEventListener("dragover", (event) => {
    if (event.dataTransfer.types.includes("Files")) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length || section.hidden) return;
    event.preventDefault();
    take(event.dataTransfer);
  });
}

// The files directly in what was dropped, or in a dropped folder.
export async function filesOf({ items, files }) {
  // Entries have to be taken before the first await: items are gone after it.
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const folder = entries.find((entry) => entry.isDirectory);
  return folder ? { name: folder.name, files: await listed(folder) } : { name: "", files: [...files] };
}

async function listed(folder) {
  const reader = folder.createReader();
  const files = [];
  for (;;) {
    // A reader gives at most a hundred at a time, and nothing when all have been given.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return files;
    for (const entry of entries)
      if (entry.isFile) files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
  }
}
