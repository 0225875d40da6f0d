// The picture with its boxes, and the mouse on it: draw, choose, move and resize; move the picture and zoom.

import { COLOURS, outline, type Rectangle, selection, tinted } from "./paint";
import type { Pictures } from "./pictures";
import { keyOf, moved, type Place } from "./scene";
import type { State } from "./state";

type Point = [number, number];
type Edges = { top: boolean; left: boolean; bottom: boolean; right: boolean };

const REACH = 7; // pixels of the screen around an edge
const LEAST = 3; // a smaller drag is a click
const WHEEL = 40;

export class Board {
  readonly element = document.createElement("div");
  readonly canvas = document.createElement("canvas");
  private scale = 1;
  private shift: Point = [0, 0];
  private size: Point = [1, 1];
  private live: Place | null = null; // as it is being drawn or dragged
  private drag: ((event: PointerEvent) => void) | null = null;
  private drop: (() => void) | null = null;
  private wheel = 0;
  private readonly watcher: ResizeObserver;

  constructor(
    private readonly state: State,
    private readonly pictures: Pictures,
  ) {
    this.element.className = "ailab-board";
    this.element.append(this.canvas);
    const { canvas } = this;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.scrolled(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    canvas.addEventListener("pointerup", (event) => this.released(event));
    canvas.addEventListener("pointercancel", () => this.stop());
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.element);
  }

  close(): void {
    this.watcher.disconnect();
  }

  fit(): void {
    [this.scale, this.shift] = [1, [0, 0]];
    this.state.changed();
  }

  zoom(factor: number, at: Point = [this.size[0] / 2, this.size[1] / 2]): void {
    const [x, y] = this.pixelAt(at);
    this.scale = Math.min(Math.max(this.scale * factor, 0.5), 40);
    const [nowX, nowY] = this.screenOf([x, y]);
    this.shift = [this.shift[0] + at[0] - nowX, this.shift[1] + at[1] - nowY];
    this.state.changed();
  }

  /** A box in the middle of what is seen, for who has no mouse. */
  add(): void {
    const one = this.state.one;
    if (!one) return;
    const [x, y] = this.pixelAt([this.size[0] / 2, this.size[1] / 2]).map(Math.round) as Point;
    const [high, wide] = [Math.max(Math.round(one.shape[0] / 20), 4), Math.max(Math.round(one.shape[1] / 8), 8)];
    this.state.add([0, one.frames - 1, y - high, x - wide, y + high, x + wide]);
  }

  screenOf([x, y]: Point): Point {
    const [scale, left, top] = this.frame();
    return [left + x * scale, top + y * scale];
  }

  pixelAt([x, y]: Point): Point {
    const [scale, left, top] = this.frame();
    return [(x - left) / scale, (y - top) / scale];
  }

  paint(): void {
    const { state, canvas } = this;
    const context = canvas.getContext("2d")!;
    const ratio = window.devicePixelRatio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, ...this.size);
    const one = state.one;
    if (!one) return;
    this.pictures.need(one.name, state.frame, state.faint, one.frames);
    const picture = this.pictures.get(one.name, state.frame, state.faint);
    if (picture) {
      state.seen = true;
      const [scale, left, top] = this.frame();
      context.imageSmoothingEnabled = scale < 2;
      context.drawImage(picture, left, top, one.shape[1] * scale, one.shape[0] * scale);
    }
    const shown = (list: Place[] | undefined) => (list ?? []).filter((each) => each[0] <= state.frame && state.frame <= each[1]);
    const { masked } = state;
    if (!masked) shown(state.detail?.stays).forEach((each) => outline(context, this.rectangle(each), COLOURS.stays, { dash: [4, 3], width: 1.5 }));
    const proposed = new Set((state.detail?.proposed ?? []).map(keyOf));
    for (const each of state.here)
      if (!this.live || keyOf(each) !== state.selected)
        tinted(context, this.rectangle(each), proposed.has(keyOf(each)) ? COLOURS.goes : COLOURS.mine, masked);
    for (const chosen of shown([this.live ?? state.chosen].filter((each) => each !== undefined)))
      selection(context, this.rectangle(chosen), proposed.has(keyOf(chosen)) ? COLOURS.goes : COLOURS.mine, masked);
    shown(state.detail?.met).forEach((each) => outline(context, this.rectangle(each), COLOURS.met, { dash: [8, 4], width: 3 }));
  }

  private frame(): [number, number, number] {
    const [rows, columns] = this.state.one?.shape ?? [1, 1];
    const fit = Math.min((this.size[0] - 16) / columns, (this.size[1] - 16) / rows);
    const scale = fit * this.scale;
    return [scale, (this.size[0] - columns * scale) / 2 + this.shift[0], (this.size[1] - rows * scale) / 2 + this.shift[1]];
  }

  private rectangle(place: Place): Rectangle {
    const [left, top] = this.screenOf([place[3], place[2]]);
    const [right, bottom] = this.screenOf([place[5], place[4]]);
    return [left, top, right - left, bottom - top];
  }

  private at(event: MouseEvent): Point {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  private pressed(event: PointerEvent): void {
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.closest<HTMLElement>(".ailab-redact")?.focus({ preventScroll: true });
    event.preventDefault();
    const start = this.at(event);
    if (event.button !== 0 || event.shiftKey) {
      const before = this.shift;
      this.drag = (now) => (this.shift = [before[0] + this.at(now)[0] - start[0], before[1] + this.at(now)[1] - start[1]]);
      return;
    }
    const chosen = this.state.chosen;
    const edges = chosen && this.edgesAt(chosen, start);
    const hit = this.hit(start);
    if (chosen && edges) this.dragEdges(chosen, edges);
    else if (hit) this.dragWhole(hit, start);
    else this.draw(start);
    this.state.changed();
  }

  private draw(start: Point): void {
    const { state } = this;
    const [x, y] = this.pixelAt(start);
    const frames = state.one?.frames ?? 1;
    state.select(undefined);
    this.drag = (event) => {
      const here = this.at(event);
      const [nowX, nowY] = this.pixelAt(here);
      const far = Math.hypot(here[0] - start[0], here[1] - start[1]) >= LEAST;
      const [top, left, bottom, right] = [Math.min(y, nowY), Math.min(x, nowX), Math.max(y, nowY), Math.max(x, nowX)].map(Math.round);
      this.live = far && state.free ? [0, frames - 1, top!, left!, bottom!, right!] : null;
    };
    this.drop = () => this.live && state.add(this.live);
  }

  private dragWhole(hit: Place, start: Point): void {
    const { state } = this;
    state.select(hit);
    const [x, y] = this.pixelAt(start);
    this.drag = (event) => {
      const [nowX, nowY] = this.pixelAt(this.at(event));
      if (state.free && state.one) this.live = moved(hit, Math.round(nowY - y), Math.round(nowX - x), state.one);
    };
    this.drop = () => this.live && keyOf(this.live) !== keyOf(hit) && state.change(this.live);
  }

  private dragEdges(one: Place, edges: Edges): void {
    const { state } = this;
    this.drag = (event) => {
      const [x, y] = this.pixelAt(this.at(event)).map(Math.round) as Point;
      const [top, bottom] = [edges.top ? y : one[2], edges.bottom ? y : one[4]];
      const [left, right] = [edges.left ? x : one[3], edges.right ? x : one[5]];
      if (state.free)
        this.live = [one[0], one[1], Math.min(top, bottom), Math.min(left, right), Math.max(top, bottom), Math.max(left, right)];
    };
    this.drop = () => this.live && keyOf(this.live) !== keyOf(one) && state.change(this.live);
  }

  private hit(point: Point): Place | undefined {
    const [x, y] = this.pixelAt(point);
    return this.state.here.reverse().find((one) => one[3] <= x && x < one[5] && one[2] <= y && y < one[4]);
  }

  /** Which edges of a box a point takes hold of. */
  private edgesAt(place: Place, [x, y]: Point): Edges | undefined {
    const [left, top, width, height] = this.rectangle(place);
    if (x < left - REACH || x > left + width + REACH || y < top - REACH || y > top + height + REACH) return undefined;
    const near = (value: number, edge: number, length: number) => Math.abs(value - edge) <= Math.min(REACH, Math.max(length / 4, 3));
    const found = {
      top: near(y, top, height), bottom: near(y, top + height, height), left: near(x, left, width), right: near(x, left + width, width),
    };
    return Object.values(found).some(Boolean) ? found : undefined;
  }

  private moved(event: PointerEvent): void {
    if (!this.drag) return this.point(event);
    this.drag(event);
    this.paint();
  }

  /** The pointer's shape tells what a press would do. */
  private point(event: PointerEvent): void {
    const at = this.at(event);
    const edges = this.state.chosen && this.edgesAt(this.state.chosen, at);
    const along = edges && ((edges.top && edges.left) || (edges.bottom && edges.right) ? "nwse" : (edges.top && edges.right) || (edges.bottom && edges.left) ? "nesw" : edges.left || edges.right ? "ew" : "ns");
    this.canvas.style.cursor = along ? `${along}-resize` : this.hit(at) ? "move" : "crosshair";
  }

  private released(event: PointerEvent): void {
    this.drag?.(event);
    this.drop?.();
    this.canvas.releasePointerCapture(event.pointerId);
    this.stop();
  }

  private stop(): void {
    this.drag = this.drop = this.live = null;
    this.state.changed();
  }

  private scrolled(event: WheelEvent): void {
    event.preventDefault();
    event.stopPropagation();
    if (event.ctrlKey || (this.state.one?.frames ?? 1) === 1) return this.zoom(Math.exp(-event.deltaY / 300), this.at(event));
    this.wheel += event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : WHEEL);
    const steps = Math.trunc(this.wheel / WHEEL);
    this.wheel -= steps * WHEEL;
    if (steps && !this.drag) this.state.goTo(this.state.frame + steps);
  }

  private resize(): void {
    const { width, height } = this.element.getBoundingClientRect();
    const ratio = window.devicePixelRatio;
    this.size = [width, height];
    [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    this.state.changed();
  }
}
