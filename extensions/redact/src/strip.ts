// Below the picture of a cine: which frame is shown, and in which frames boxes are.

import { make } from "./panel";
import type { State } from "./state";

export class Strip {
  readonly element = make("div", "ailab-strip");
  private readonly slider = make("input");
  private readonly told = make("span");
  private readonly marks = make("canvas");

  constructor(private readonly state: State) {
    this.slider.type = "range";
    this.slider.min = "0";
    this.slider.setAttribute("aria-label", "frame");
    this.slider.addEventListener("input", () => state.goTo(Number(this.slider.value)));
    const bar = make("div", "ailab-bar");
    bar.append(this.slider, this.marks);
    this.element.append(bar, this.told);
  }

  paint(): void {
    const frames = this.state.one?.frames ?? 1;
    this.element.hidden = frames < 2;
    if (frames < 2) return;
    this.slider.max = String(frames - 1);
    this.slider.value = String(this.state.frame);
    this.told.textContent = `${this.state.frame + 1} / ${frames}`;
    const { marks, state } = this;
    [marks.width, marks.height] = [Math.min(frames * 8, 2048), 6];
    const context = marks.getContext("2d")!;
    const wide = marks.width / frames;
    context.fillStyle = "#ff4d5e";
    for (const one of state.places) context.fillRect(one[0] * wide, 0, (one[1] + 1 - one[0]) * wide, 6);
    const chosen = state.chosen;
    context.fillStyle = "#3fb6ff";
    if (chosen) context.fillRect(chosen[0] * wide, 0, (chosen[1] + 1 - chosen[0]) * wide, 6);
  }
}
