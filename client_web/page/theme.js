/** Theme: dark, light, or as the system has it. initial_view.js sets it before the first paint of the next visit. */
import { select } from "./dom.js";
import { keep, kept } from "./storage.js";

export function offerThemes() {
  const theme = select("theme");
  theme.value = kept("theme", "");
  theme.addEventListener("change", () => {
    document.documentElement.dataset.theme = theme.value;
    keep("theme", theme.value);
  });
}
