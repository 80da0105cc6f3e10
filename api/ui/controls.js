/**
 * controls: the header's pickers and the theme.
 */

import { byId, el, setAttr } from "./dom.js";
import { bucketsOf } from "./view.js";

const THEME_KEY = "weir.theme";

/**
 * Wires the pickers: each calls `change` with the part of the view that it changes. Cards show what was picked
 * last, the window or the running bucket of the grain.
 */
export function wireControls(change, onTheme) {
  byId("tenant").addEventListener("change", (event) => change({ tenant: event.target.value, currency: null, at: null }));
  byId("currency").addEventListener("change", (event) => change({ currency: event.target.value, at: null }));
  byId("grains").addEventListener("click", (event) => {
    const { grain } = event.target.dataset;
    if (grain) change({ grain, at: null, show: "grain" });
  });
  byId("windows").addEventListener("click", (event) => {
    const { window } = event.target.dataset;
    if (window) change({ window, at: null, show: "window" });
  });
  byId("theme").addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(THEME_KEY, theme);
    } catch {
      // Without storage it holds until the page is closed.
    }
    onTheme(theme);
  });
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", () => onTheme(null));
  drawTheme();
}

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Says which theme the button brings. */
export function drawTheme() {
  const label = isDark() ? "Light theme" : "Dark theme";
  setAttr(byId("theme"), "aria-label", label);
  setAttr(byId("theme"), "title", label);
}

/** Shows the view in the pickers; `tenants` is `null` until they are known. */
export function drawControls(view, tenants, currencies) {
  if (tenants !== null) fillSelect(byId("tenant"), tenants.length > 0 ? tenants : ["no tenant yet"], view.tenant);
  setAttr(byId("tenant"), "disabled", tenants?.length > 0 ? null : "");
  fillSelect(byId("currency"), currencies, view.currency);
  setAttr(byId("currency-pick"), "hidden", currencies.length > 1 ? null : "");
  for (const button of byId("grains").children) {
    setAttr(button, "aria-pressed", String(button.dataset.grain === view.grain));
  }
  for (const button of byId("windows").children) {
    const tooShort = bucketsOf(view.grain, button.dataset.window) === 0;
    setAttr(button, "aria-pressed", String(button.dataset.window === view.window));
    setAttr(button, "disabled", tooShort ? "" : null);
    setAttr(button, "title", tooShort ? `shorter than two ${view.grain}s` : null);
  }
}

function fillSelect(select, values, chosen) {
  const current = [...select.options].map((option) => option.value);
  if (current.length !== values.length || current.some((value, i) => value !== values[i])) {
    select.replaceChildren(...values.map((value) => el("option", { value, text: value })));
  }
  if (chosen !== null && select.value !== chosen) select.value = chosen;
}

/** Asks a person for a token; resolves when one is given. */
export function askForToken(reason) {
  const panel = byId("sign-in");
  document.body.classList.add("signed-out");
  setAttr(panel, "hidden", null);
  byId("sign-in-why").textContent = reason;
  const input = byId("sign-in-token");
  input.value = "";
  input.focus();
  const form = byId("sign-in-form");
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      const token = input.value.trim();
      input.value = "";
      if (!/^[\x21-\x7e]+$/.test(token)) {
        byId("sign-in-why").textContent = "This is no token: tokens have no blanks and no letters beyond ASCII.";
        return;
      }
      form.onsubmit = null;
      setAttr(panel, "hidden", "");
      document.body.classList.remove("signed-out");
      resolve(token);
    };
  });
}
