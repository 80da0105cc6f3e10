/**
 * choice: the bar above the cards: whose KPIs they are, what they are of, and which the overview has.
 */

import { overviewOf } from "./cards.js";
import { byId, el, setAttr, setText } from "./dom.js";
import { WINDOWS } from "./view.js";

/** The groups that Weir knows, in the order in which they are listed, and their names for people. */
const GROUPS = new Map([
  ["executive", "Executive"],
  ["finops", "FinOps"],
  ["sales", "Sales"],
  ["customers", "Customers"],
  ["operations", "Operations"],
]);

/** Groups of one's own stand behind them, and KPIs without a group last. */
function rankOf(name) {
  if (!name) return GROUPS.size + 1;
  return GROUPS.has(name) ? [...GROUPS.keys()].indexOf(name) : GROUPS.size;
}

/** The groups of some KPIs in their order. */
export function groupsOf(kpis) {
  return [...new Set(kpis.map((kpi) => kpi.group))].sort((a, b) => rankOf(a) - rankOf(b));
}

/** A group's name for people. */
export function groupName(name) {
  if (!name) return "KPIs";
  return GROUPS.get(name) ?? name.replaceAll("_", " ");
}

const CARDS_KEY = "weir.cards";

/** The cards that were chosen in this browser, `null` when none were. */
export function keptCards() {
  try {
    return localStorage.getItem(CARDS_KEY)?.split(",").filter(Boolean) ?? null;
  } catch {
    return null;
  }
}

function keep(cards) {
  try {
    if (cards === null) localStorage.removeItem(CARDS_KEY);
    else localStorage.setItem(CARDS_KEY, cards.join(","));
  } catch {
    // Without storage they are in the address.
  }
}

/** See the head of this file. */
export class Choice {
  #kpis = [];
  #change;
  #view = null;

  /**
   * @param {(part: object) => void} change another part of the view is wanted
   * @param {() => void} save the cards as a file
   */
  constructor(change, save) {
    this.#change = change;
    byId("groups").addEventListener("click", ({ target }) => {
      if (target.dataset.group !== undefined) change({ group: target.dataset.group || null });
    });
    byId("shows").addEventListener("click", ({ target }) => {
      if (target.dataset.show) change({ show: target.dataset.show });
    });
    byId("chooser-list").addEventListener("change", ({ target }) => this.#toggle(target.value, target.checked));
    byId("chooser-reset").addEventListener("click", () => this.#choose(null));
    byId("cards-csv").addEventListener("click", save);
    // A menu closes where menus do.
    document.addEventListener("click", ({ target }) => !byId("chooser").contains(target) && (byId("chooser").open = false));
    byId("chooser").addEventListener("keydown", ({ key }) => {
      if (key !== "Escape" || !byId("chooser").open) return;
      byId("chooser").open = false;
      byId("chooser").querySelector("summary").focus();
    });
  }

  /** Makes the groups and the list of all KPIs. */
  build(kpis) {
    this.#kpis = kpis;
    const names = groupsOf(kpis);
    const button = (name, text) => el("button", { type: "button", "data-group": name, text });
    const groups = names.filter(Boolean).map((name) => button(name, groupName(name)));
    byId("groups").replaceChildren(button("", "Overview"), ...groups);
    const box = (kpi) => el("label", { title: kpi.description || null }, el("input", { type: "checkbox", value: kpi.key }), el("span", { text: kpi.title }));
    const inGroup = (name) => kpis.filter((kpi) => kpi.group === name).map(box);
    const lists = names.map((name) => el("fieldset", {}, el("legend", { text: groupName(name) }), ...inGroup(name)));
    byId("chooser-list").replaceChildren(...lists);
  }

  draw(view) {
    this.#view = view;
    for (const button of byId("groups").children) {
      setAttr(button, "aria-pressed", String((button.dataset.group || null) === view.group));
    }
    const { label, name } = WINDOWS[view.window];
    for (const button of byId("shows").children) {
      setAttr(button, "aria-pressed", String(button.dataset.show === view.show));
      setText(button, button.dataset.show === "grain" ? `${view.grain} so far` : name === "all" ? "all time" : `last ${label}`);
    }
    const chosen = this.#chosen();
    for (const box of byId("chooser-list").querySelectorAll("input")) box.checked = chosen.includes(box.value);
  }

  #chosen() {
    return this.#view?.cards ?? overviewOf(this.#kpis).map((kpi) => kpi.key);
  }

  /** The overview has the cards in the order in which they were chosen; one stays. */
  #toggle(key, isOn) {
    const rest = this.#chosen().filter((own) => own !== key);
    const cards = isOn ? [...rest, key] : rest;
    this.#choose(cards.length > 0 ? cards : this.#chosen());
  }

  #choose(cards) {
    keep(cards);
    // The view is drawn later, and another choice may come before.
    this.#view = { ...this.#view, cards };
    this.#change({ cards, group: null });
  }
}
