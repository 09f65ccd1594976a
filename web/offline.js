// Has a service worker (sw.js) keep the page, once the first model stands: until then what it fetches
// would be in the way.
//
//   const offline = keepOffline(engine, told);
//
// told      () => void: the page opens without a network from now on
// offline.replaced()   whether a newer version has taken the place of the one this page is of

export function keepOffline(engine, told) {
  const { serviceWorker } = navigator; // only https and localhost have one
  let asked = false;
  let replaced = false;

  async function register() {
    asked = true;
    try {
      await serviceWorker.register(new URL("sw.js", import.meta.url), { updateViaCache: "none" });
      await serviceWorker.ready;
      told();
    } catch {
      // Storage may be forbidden or full: the page then needs its network, as any other.
    }
  }

  engine.addEventListener("state", () => {
    const states = Object.values(engine.models).map(({ state }) => state);
    if (serviceWorker && !asked && states.includes("ready") && !states.includes("loading")) register();
  });
  serviceWorker?.addEventListener("controllerchange", () => (replaced = true));
  return { replaced: () => replaced };
}
