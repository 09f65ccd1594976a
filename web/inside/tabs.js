// Tabs as ARIA has them: one is in the tab order, arrows go to the others.

// shown: told the name of a tab when it is chosen; its panel is #side-NAME.
export function tabs(list, first, chosen) {
  const all = [...list.querySelectorAll("[role=tab]")];
  const nameOf = (tab) => tab.id.replace("tab-", "");
  let now = all.find((tab) => nameOf(tab) === first) ?? all[0];

  function mark() {
    for (const tab of all) {
      tab.ariaSelected = String(tab === now);
      tab.tabIndex = tab === now ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = tab !== now;
    }
  }

  function show(tab) {
    now = tab;
    mark();
    chosen(nameOf(tab));
  }

  for (const tab of all) tab.addEventListener("click", () => show(tab));
  list.addEventListener("keydown", ({ key }) => {
    const at = all.indexOf(now);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1 + all.length, Home: 0, End: all.length - 1 }[key];
    if (to === undefined) return;
    show(all[to % all.length]);
    now.focus();
  });
  mark();
  return { shown: () => nameOf(now), show: (name) => show(all.find((tab) => nameOf(tab) === name)) };
}
