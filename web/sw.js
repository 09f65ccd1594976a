// Keeps the page for visits without a network: every file that site.js names, each checked against its
// sha256, so that what is kept is one version of the site and never a mixture of two.
//
// A visit asks the network for the page first. If that is the page that is kept, all the rest comes
// from here. If it is another, all the rest comes from the network, and the browser meanwhile installs
// the worker of that version, which keeps its own files and drops these. Without a network everything
// comes from here. Models beside the embedded one are no part of it.

importScripts("site.js"); // KEPT: {address: sha256, or "" for a CDN's, whose address holds a version}

const PAGE = "./";
const PATIENCE = 4000; // ms until a network that does not answer is taken for none
const CACHES = `tensortab-site ${registration.scope} `; // an origin may have several sites
const CACHE = CACHES + KEPT[PAGE].slice(0, 16);
const absolute = (address) => new URL(address, registration.scope).href;
const KEPT_URLS = new Map(Object.entries(KEPT).map(([address, sha]) => [absolute(address), sha]));
const PAGES = [absolute(PAGE), absolute("index.html")];
const PASSING = absolute("passing"); // kept while the network has another version; a worker has no other memory

async function sha256(response) {
  const digest = await crypto.subtle.digest("SHA-256", await response.arrayBuffer());
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const fits = async (response, sha) =>
  Boolean(response?.ok && (!sha || (await sha256(response.clone())) === sha));

async function keep([url, sha]) {
  const older = await caches.match(url); // of the version before: most files stay as they are
  const response = (await fits(older, sha)) ? older : await fetch(url, { cache: "no-cache" });
  if (!(await fits(response, sha))) throw new Error(`${url} is not of this version`);
  await (await caches.open(CACHE)).put(url, response);
}

async function drop() {
  const names = await caches.keys();
  const others = names.filter((name) => name.startsWith(CACHES) && name !== CACHE);
  await Promise.all(others.map((name) => caches.delete(name)));
}

async function answerPage() {
  const cache = await caches.open(CACHE);
  const asked = fetch(PAGES[0], { cache: "no-cache", signal: AbortSignal.timeout(PATIENCE) });
  const fresh = await asked.catch(() => null);
  const kept = await cache.match(PAGES[0]);
  if (kept && (!fresh || fresh.status >= 500 || (await fits(fresh, KEPT[PAGE])))) {
    await cache.delete(PASSING);
    return kept;
  }
  await cache.put(PASSING, new Response());
  return fresh ?? Response.error();
}

async function answerPart(request) {
  const cache = await caches.open(CACHE);
  if (await cache.match(PASSING)) return fetch(request, { cache: "no-cache" });
  return (await cache.match(request.url)) ?? fetch(request);
}

addEventListener("install", (event) => {
  skipWaiting();
  event.waitUntil(Promise.all([...KEPT_URLS].map(keep)));
});
addEventListener("activate", (event) => event.waitUntil(drop()));
addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || request.headers.has("range")) return;
  if (request.mode === "navigate") {
    if (PAGES.includes(request.url.split(/[?#]/)[0])) event.respondWith(answerPage());
  } else if (KEPT_URLS.has(request.url)) event.respondWith(answerPart(request));
});
