// What stands beside the picture: the objects, the boxes of one, and what may be done.

import { KEYS, type Doing } from "./keys";
import { keyOf, type Listed, type Place, type Standing } from "./scene";

const MARKS: Record<Standing, string> = { open: "○", done: "✓", releasing: "…", released: "●", returned: "!", refused: "✕" };
const SAYS: Record<Standing, string> = {
  open: "to decide", done: "decided", releasing: "being released", released: "released", returned: "look again", refused: "not released",
};

export function make<K extends keyof HTMLElementTagNameMap>(tag: K, className = "", text = ""): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

export function button(text: string, key: string, does: string, act: () => void): HTMLButtonElement {
  const element = make("button", "ailab-button", text);
  element.type = "button";
  element.title = `${does} (${key})`;
  element.append(make("span", "ailab-key", key));
  element.addEventListener("click", act);
  return element;
}

export function titleOf(one: Listed): string {
  const place = one.study ? `study ${one.study}, object ${one.number}` : `file ${one.number}`;
  return `${one.modality ? `${one.modality} · ` : ""}${place}`;
}

function group(title: string, ...parts: HTMLElement[]): HTMLElement {
  const element = make("section", "ailab-group");
  element.append(make("h4", "", title), ...parts);
  return element;
}

export class Panel {
  readonly left = make("div", "ailab-side ailab-objects");
  readonly right = make("div", "ailab-side");
  private readonly boxes = make("div", "ailab-boxes");
  private readonly why = make("p", "ailab-why");
  private readonly rows = new Map<string, HTMLButtonElement>();
  private readonly changes: (() => void)[] = [];

  constructor(private readonly doing: Doing) {
    const { state, board } = doing;
    this.right.append(
      group("This object", this.why),
      group("Boxes", this.boxes, this.enabled(button("Add", "A", "add a box in the middle", () => board.add()), () => state.free),
        this.enabled(button("Remove", "X", "remove the chosen box", () => state.remove()), () => state.free && !!state.chosen),
        this.enabled(button("All frames or one", "F", "the box is in every frame, or in this one alone", () => state.spread()),
          () => state.free && !!state.chosen && (state.one?.frames ?? 1) > 1)),
      group("History", this.enabled(button("Undo", "Z", "take the last act back", () => state.undo()), () => !!state.detail?.undo),
        this.enabled(button("Redo", "Y", "do it again", () => state.redo()), () => !!state.detail?.redo)),
      group("See", this.flag("As masked", "M", "masked"), this.flag("Brighter", "B", "faint")),
      group("Decide", this.primary("Done, next", "Enter", () => state.done(), () => state.free && state.seen),
        this.enabled(button("Release", "Ctrl+⏎", "mask, prove and release what is decided", () => state.release()),
          () => !state.releasing && state.count("done", "releasing") > 0),
        button("Keys", "?", "every key", () => doing.help())),
    );
  }

  refresh(): void {
    this.objects();
    this.listed();
    const { detail } = this.doing.state;
    this.why.textContent = !detail ? "…" : detail.met.length
      ? "After the last decision an identifier was still read where it is marked orange: cover it."
      : `${detail.why}${detail.held ? `. Held: ${detail.held}` : ""}.`;
    this.changes.forEach((one) => one());
  }

  private enabled(element: HTMLButtonElement, when: () => boolean): HTMLButtonElement {
    this.changes.push(() => (element.disabled = !when()));
    return element;
  }

  private primary(text: string, key: string, act: () => void, when: () => boolean): HTMLButtonElement {
    const element = this.enabled(button(text, key, "these boxes and no others; on to the next object", act), when);
    element.classList.add("ailab-primary");
    return element;
  }

  private flag(text: string, key: string, name: "masked" | "faint"): HTMLButtonElement {
    const { state } = this.doing;
    const element = button(text, key, KEYS.find((one) => one.shown === key)!.does, () => {
      state[name] = !state[name];
      state.changed();
    });
    this.changes.push(() => element.setAttribute("aria-pressed", String(state[name])));
    return element;
  }

  private objects(): void {
    const { state } = this.doing;
    if (this.rows.size !== state.objects.length || state.objects.some((one) => !this.rows.has(one.name))) {
      this.rows.clear();
      this.left.replaceChildren(...state.objects.map((one) => this.row(one)));
    }
    for (const one of state.objects) {
      const row = this.rows.get(one.name)!;
      const current = one.name === state.name;
      if (current && row.getAttribute("aria-current") !== "true") row.scrollIntoView({ block: "nearest" });
      row.setAttribute("aria-current", String(current));
      row.dataset.state = one.state;
      row.querySelector("i")!.textContent = MARKS[one.state];
      row.querySelector("small")!.textContent = `${SAYS[one.state]}${one.frames > 1 ? ` · ${one.frames} frames` : ""}`;
    }
  }

  private row(one: Listed): HTMLButtonElement {
    const row = make("button", "ailab-object");
    row.type = "button";
    row.append(make("i"), make("b", "", titleOf(one)), make("small"));
    row.addEventListener("click", () => this.doing.state.open(one.name));
    this.rows.set(one.name, row);
    return row;
  }

  private listed(): void {
    const { state } = this.doing;
    const { detail } = state;
    const fates = new Map((detail?.proposed ?? []).map((one, index) => [keyOf(one), detail!.fates[index]!]));
    this.boxes.replaceChildren(...state.places.map((one) => this.boxRow(one, fates.get(keyOf(one)))));
    if (detail && !state.places.length) this.boxes.append(make("p", "ailab-why", "No box: every pixel stays."));
  }

  private boxRow(one: Place, fate: string | undefined): HTMLElement {
    const { state } = this.doing;
    const row = make("button", "ailab-box");
    row.type = "button";
    row.setAttribute("aria-pressed", String(keyOf(one) === state.selected));
    row.dataset.kind = fate ? "goes" : "mine";
    const frames = state.one?.frames ?? 1;
    const some = one[0] === one[1] ? `frame ${one[0] + 1}` : `frames ${one[0] + 1} to ${one[1] + 1}`;
    const all = one[0] === 0 && one[1] === frames - 1;
    const where = `${one[5] - one[3]}×${one[4] - one[2]}${frames > 1 ? ` · ${all ? "all frames" : some}` : ""}`;
    row.append(make("i"), make("b", "", fate ?? "by hand"), make("small", "", where));
    row.addEventListener("click", () => state.select(one));
    return row;
  }
}

/** The help: what every key does, and what colours mean. */
export function helpOf(close: () => void): HTMLElement {
  const help = make("div", "ailab-help");
  help.hidden = true;
  const list = make("dl");
  for (const one of KEYS) list.append(make("dt", "", one.shown), make("dd", "", one.does));
  const colours = make("p", "", "Red: proposed. Blue: drawn or changed by hand. White: chosen. Green, dashed: text that stays. Orange: an identifier that is still read.");
  help.append(make("h3", "", "Keys"), list, colours, button("Close", "?", "close the help", close));
  return help;
}
