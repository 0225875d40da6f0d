// Everything beside the picture: tools, labels with their volumes, the window, and how the strokes stand.

import { KEYS, type Doing } from "./keys";
import type { Tool } from "./state";

type Change = () => void;

const TOOLS: [Tool, string, string][] = [
  ["brush", "Brush", "B"],
  ["eraser", "Eraser", "E"],
  ["polygon", "Polygon", "P"],
  ["fill", "Fill", "F"],
  ["grow", "Grow", "L"],
  ["pan", "Move", "H"],
  ["window", "Window", "W"],
];

const ASSIST: [Tool, string, string][] = [
  ["click", "Click", "Q"],
  ["scribble", "Scribble", "R"],
];

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K, className = "", text = "",
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function button(text: string, key: string, does: string, act: () => void): HTMLButtonElement {
  const element = make("button", "ailab-button", text);
  element.type = "button";
  element.title = key ? `${does} (${key})` : does;
  if (key) element.append(make("span", "ailab-key", key));
  element.addEventListener("click", act);
  return element;
}

function group(title: string, ...parts: HTMLElement[]): HTMLElement {
  const element = make("section", "ailab-group");
  element.append(make("h4", "", title), ...parts);
  return element;
}

function row(...parts: (HTMLElement | string)[]): HTMLElement {
  const element = make("div", "ailab-row");
  element.append(...parts);
  return element;
}

export class Panel {
  readonly left = make("div", "ailab-side");
  readonly right = make("div", "ailab-side");
  private readonly changes: Change[] = [];

  constructor(private readonly doing: Doing) {
    this.left.append(group("Tools", ...this.tools(TOOLS)), this.assist(), this.brush(), this.shapes(), this.history());
    this.right.append(this.labels(), ...this.references(), this.planes(), this.window(), this.ending());
  }

  refresh(): void {
    this.changes.forEach((change) => change());
  }

  private tools(list: [Tool, string, string][]): HTMLElement[] {
    const { state } = this.doing;
    return list.map(([tool, text, key]) => {
      const one = button(text, key, KEYS.find((entry) => entry.shown === key)!.does, () => state.choose(tool));
      this.pressed(one, () => state.tool === tool);
      return one;
    });
  }

  private assist(): HTMLElement {
    const { state, acts } = this.doing;
    const accept = button("Accept", "Enter", "keep what the helper proposed; Undo rejects it", () => acts.accept());
    const told = make("small", "ailab-told");
    told.setAttribute("role", "status");
    this.changes.push(() => {
      const { clicks, thinking } = state.standing;
      accept.disabled = !clicks.length || thinking;
      told.textContent = thinking ? "thinking… draw on meanwhile" : clicks.length ? `proposal after ${clicks.length} ${clicks.length === 1 ? "click" : "clicks"}` : "";
    });
    return group("Assist", ...this.tools(ASSIST), accept, told);
  }

  private brush(): HTMLElement {
    const { state } = this.doing;
    const radius = this.number("radius, mm", () => state.radius, (value) => state.setRadius(value), "0.5");
    const low = this.number("lowest value", () => state.low, (value) => ((state.low = value), state.changed()), "10");
    const high = this.number("highest value", () => state.high, (value) => ((state.high = value), state.changed()), "10");
    return group("Brush", row("Radius", radius, "mm"), this.check("3-D ball", "D", "ball"),
      this.check(`Only ${state.scene.unit || "values"} from`, "T", "within"), row(low, "to", high)); // prettier-ignore
  }

  private shapes(): HTMLElement {
    const { acts } = this.doing;
    return group("Label",
      button("Interpolate", "I", "between the drawn slices of this plane", () => acts.whole("interpolate")),
      button("One piece", "K", "keep the largest piece only", () => acts.whole("islands")),
      button("Smooth", "M", "an even outline", () => acts.whole("smooth"))); // prettier-ignore
  }

  private history(): HTMLElement {
    const { state, acts } = this.doing;
    const undo = button("Undo", "Z", "take back", () => acts.undo());
    const redo = button("Redo", "Y", "do again", () => acts.redo());
    this.changes.push(() => {
      undo.disabled = !state.standing.undo;
      redo.disabled = !state.standing.redo;
    });
    return group("History", undo, redo);
  }

  private labels(): HTMLElement {
    const { state } = this.doing;
    const rows = state.scene.labels.map((label, number) => {
      const choose = make("button", "ailab-label");
      choose.type = "button";
      choose.title = `${label.meaning} (${number + 1})`;
      const swatch = make("i");
      swatch.style.background = `rgb(${label.color.join(", ")})`;
      const size = make("small");
      choose.append(swatch, make("b", "", label.name), size);
      choose.addEventListener("click", () => ((state.label = label.value), state.changed()));
      this.pressed(choose, () => state.label === label.value);
      const hide = this.flag("hide", "hidden", () => state.hidden.has(label.value), () => state.toggle(state.hidden, label.value));
      const lock = this.flag("lock", "locked", () => state.locked.has(label.value), () => state.toggle(state.locked, label.value));
      this.changes.push(() => {
        const ml = (state.standing.voxels[number] ?? 0) * state.scene.voxel_ml;
        const slices = state.standing.slices[number] ?? 0;
        size.textContent = `${ml.toFixed(ml < 10 ? 2 : 1)} ml · ${slices} ${slices === 1 ? "slice" : "slices"}`;
      });
      const element = make("div", "ailab-label-row");
      element.append(choose, hide, lock);
      return element;
    });
    const opacity = make("input");
    Object.assign(opacity, { type: "range", min: "0.1", max: "1", step: "0.05", title: "opacity of the labels (, .)" });
    opacity.setAttribute("aria-label", "opacity of the labels");
    opacity.addEventListener("input", () => ((state.opacity = Number(opacity.value)), state.changed()));
    this.changes.push(() => (opacity.value = String(state.opacity)));
    return group("Labels", ...rows, row("Opacity", opacity), this.check("Show labels", "O", "overlay"));
  }

  /** Other readers' masks: shown or not, and taken over. */
  private references(): HTMLElement[] {
    const { state, acts } = this.doing;
    const all = state.scene.references.map(({ name, color }, number) => {
      const title = make("b", "", name);
      title.style.borderColor = `rgb(${color.join(", ")})`;
      const hide = this.flag("hide", "show", () => state.hiddenReferences.has(number), () => state.toggle(state.hiddenReferences, number));
      const here = button("here", "", `take over the chosen label of ${name} in this slice`, () => acts.take(name, false));
      const whole = button("whole", "", `take over the chosen label of ${name} in every slice`, () => acts.take(name, true));
      [here, whole].forEach((one) => one.classList.add("ailab-flag"));
      const element = make("div", "ailab-reference");
      element.append(title, hide, here, whole);
      return element;
    });
    return all.length ? [group("Readings, take over", ...all)] : [];
  }

  private planes(): HTMLElement {
    const { state, three } = this.doing;
    const all = state.scene.planes.map((plane, number) => {
      const key = plane.name[0]!.toUpperCase();
      const one = button(plane.name, key, `${plane.name} plane`, () => ((state.plane = number), state.changed()));
      this.pressed(one, () => state.plane === number);
      return one;
    });
    const every = button("three planes", "X", "linked, with a crosshair, and a view in 3-D", three);
    this.pressed(every, () => state.three);
    return group("Plane", ...all, every);
  }

  private window(): HTMLElement {
    const { state } = this.doing;
    const presets = make("select");
    presets.setAttribute("aria-label", "window preset");
    presets.append(make("option", "", "own"), ...state.scene.windows.map(([name]) => make("option", "", name)));
    presets.addEventListener("change", () => {
      const found = state.scene.windows[presets.selectedIndex - 1];
      if (found) state.setWindow(found[1], found[2]);
    });
    const centre = this.number("window centre", () => state.centre, (value) => state.setWindow(value, state.width), "10");
    const width = this.number("window width", () => state.width, (value) => state.setWindow(state.centre, value), "10");
    this.changes.push(() => {
      presets.selectedIndex = 1 + state.scene.windows.findIndex(([, c, w]) => c === state.centre && w === state.width);
    });
    return group("Window", presets, row("Centre", centre), row("Width", width));
  }

  private ending(): HTMLElement {
    const { state, save, help, turn } = this.doing;
    const parts: HTMLElement[] = [button("Help", "?", "every key", help)];
    if (state.scene.can_save) parts.unshift(button("Save", "Ctrl+S", "to the archive, and hand in", save));
    parts[0]!.classList.toggle("ailab-primary", state.scene.can_save);
    if (state.scene.cases.length > 1) {
      const cases = make("select");
      cases.setAttribute("aria-label", "case");
      cases.addEventListener("change", () => turn(cases.selectedIndex));
      let shown: string[] = [];
      this.changes.push(() => {
        if (shown === state.scene.cases) return;
        shown = state.scene.cases;
        cases.replaceChildren(...shown.map((one, number) => make("option", "", `${number + 1}: ${one}`)));
        cases.selectedIndex = state.scene.case;
      });
      parts.push(cases);
    }
    return group("Case", ...parts);
  }

  private pressed(element: HTMLElement, now: () => boolean): void {
    this.changes.push(() => element.setAttribute("aria-pressed", String(now())));
  }

  private flag(text: string, on: string, now: () => boolean, act: () => void): HTMLElement {
    const one = button(text, "", text, act);
    one.classList.add("ailab-flag");
    this.pressed(one, now);
    this.changes.push(() => (one.textContent = now() ? on : text));
    return one;
  }

  private check(text: string, key: string, name: "ball" | "within" | "overlay"): HTMLElement {
    const { state } = this.doing;
    const box = make("input");
    box.type = "checkbox";
    box.addEventListener("change", () => ((state[name] = box.checked), state.changed()));
    this.changes.push(() => (box.checked = state[name]));
    const label = make("label", "ailab-row");
    label.append(box, text, make("span", "ailab-key", key));
    return label;
  }

  private number(name: string, now: () => number, set: (value: number) => void, step: string): HTMLInputElement {
    const input = make("input");
    Object.assign(input, { type: "number", step, title: name });
    input.setAttribute("aria-label", name);
    input.addEventListener("change", () => Number.isFinite(input.valueAsNumber) && set(input.valueAsNumber));
    this.changes.push(() => {
      if (input !== input.ownerDocument.activeElement) input.value = String(Math.round(now() * 10) / 10);
    });
    return input;
  }
}

/** The help, from the table of keys. */
export function helpOf(close: () => void): HTMLElement {
  const element = make("div", "ailab-help");
  const list = make("dl");
  KEYS.forEach((one) => list.append(make("dt", "", one.shown), make("dd", "", one.does)));
  element.append(make("h3", "", "Keys"), list, button("Close", "?", "close the help", close));
  element.hidden = true;
  return element;
}
