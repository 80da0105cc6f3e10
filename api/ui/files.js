/**
 * files: what is on the page as CSV files, as the server writes them: exact numbers, not those that fit on a card.
 */

import { el } from "./dom.js";
import { dimsOf } from "./stats.js";
import { rfc3339 } from "./time.js";
import { WINDOWS } from "./view.js";

/** See the head of this file. */
export class Files {
  #session;
  #fail;

  /** @param {(why: string) => void} fail a file could not be had */
  constructor(session, fail) {
    this.#session = session;
    this.#fail = fail;
  }

  /** The cards and what they are compared with, by the window or grain that was chosen. */
  async cards(view, kpis) {
    const grain = view.show === "window" ? WINDOWS[view.window].name : view.grain;
    const query = { tenant: view.tenant, grain, kpi: kpis.map((own) => own.key).join(","), compare: "previous" };
    await this.#save("kpis", query, `${view.tenant}-${view.group ?? "overview"}-${grain}`);
  }

  /** The series of the chart. */
  async series(view, kpi, from) {
    const { tenant, grain } = view;
    const dims = Object.entries(dimsOf(kpi, view.currency, view.dims)).map(([name, value]) => [`dim.${name}`, value ?? ""]);
    const query = { tenant, grain, from: rfc3339(from), compare: "previous", ...Object.fromEntries(dims) };
    await this.#save(`kpis/${encodeURIComponent(kpi.key)}/series`, query, `${tenant}-${kpi.key}-${grain}`);
  }

  async #save(path, query, name) {
    try {
      const address = URL.createObjectURL(await this.#session.csv(path, query));
      el("a", { href: address, download: `${name}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    } catch (error) {
      this.#fail(`Could not save the numbers: ${error.message}.`);
    }
  }
}
