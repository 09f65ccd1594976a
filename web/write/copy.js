// A button that copies a text, or selects what shows it where the clipboard is forbidden.

const SAID = 1500; // ms that the button says so

export function copyOn(button, text, shown) {
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(shown);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => (button.textContent = "Copy"), SAID);
  });
}
