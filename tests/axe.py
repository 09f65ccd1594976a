"""axe-core's judgement of a page: an accessibility checker, fetched by the project's own set-up."""

from tensortab import parts, vendor
from visit import Visit

# What a person would open is judged, too.
SERIOUS = """async () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  const bad = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  return bad.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target}: ${failureSummary}`));
}"""


def serious(visit: Visit) -> list[str]:
    """The issues that axe-core calls serious or critical: rule, element and what would help."""
    vendor.ensure(parts.AXE)
    file = vendor.cache() / parts.AXE.folder / "axe.min.js"
    visit.do(visit.page.evaluate(file.read_text()))
    return visit.do(visit.page.evaluate(SERIOUS))
