// One plane on the screen: a canvas, its title, and what the mouse does on it.

import type { Acts } from "./acts";
import { paintHints } from "./hints";
import { Painter, planeTitle } from "./paint";
import { sweep } from "./raster";
import type { Plane, Voxel } from "./scene";
import type { Slices } from "./slices";
import type { Draft, State } from "./state";
import { View } from "./view";

const WHEEL_STEP = 40; // pixels of wheel a slice
const SCRIBBLE_STEP = 3; // voxels
const LIVE = -1; // number of the draft that is still being drawn

export class Pane {
  readonly element = document.createElement("div");
  readonly canvas = document.createElement("canvas");
  readonly view: View;
  private readonly title = document.createElement("div");
  private readonly value = document.createElement("div");
  private readonly painter: Painter;
  private at: [number, number] | null = null;
  private path: Voxel[] = [];
  private clicked: { isThere: boolean } | null = null;
  private drag: ((event: PointerEvent) => void) | null = null;
  private wheel = 0;
  private readonly watcher: ResizeObserver;

  constructor(
    readonly plane: Plane,
    private readonly state: State,
    private readonly slices: Slices,
    private readonly acts: Acts,
  ) {
    this.view = new View(plane, state.scene);
    this.painter = new Painter(this.view, state);
    this.element.className = "ailab-pane";
    this.title.className = "ailab-pane-title";
    this.value.className = "ailab-pane-value";
    this.element.append(this.canvas, this.title, this.value);
    this.listen();
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.element);
  }

  close(): void {
    this.watcher.disconnect();
  }

  paint(): void {
    const slice = this.slices.get(this.plane.axis, this.index);
    this.painter.paint(this.canvas, slice);
    paintHints(this.canvas, this.view, this.state, this.at, this.openPath);
    this.element.classList.toggle("ailab-active", this.state.three && this.state.active === this.plane);
    this.title.textContent = planeTitle(this.state, this.plane);
    this.value.textContent = this.told;
  }

  get index(): number {
    return this.state.cursor[this.plane.axis]!;
  }

  /** Dab at the cursor: drawing without a mouse. */
  dab(): void {
    const place = [...this.state.cursor] as Voxel;
    if (this.state.tool === "fill") this.acts.fill(place, this.plane);
    else if (this.state.tool === "grow") this.acts.grow(place, this.plane);
    else if (this.state.asking) this.acts.click([place], true);
    else if (this.state.tool === "polygon") this.corner(place);
    else this.acts.stroke([place], this.plane);
  }

  /** Close the polygon that is being drawn. */
  closePath(): void {
    const path = this.path;
    this.path = [];
    this.acts.polygon(path, this.plane);
    this.state.changed();
  }

  dropPath(): void {
    this.path = [];
    this.state.changed();
  }

  private corner(place: Voxel): void {
    if (this.path.length && this.path[0]![this.plane.axis] !== place[this.plane.axis]) this.path = [];
    this.path.push(place);
    this.state.changed();
  }

  private get openPath(): [number, number][] {
    return this.state.tool === "polygon" || this.state.tool === "scribble" ? this.path.map((one) => this.view.screenOf(one)) : [];
  }

  private get told(): string {
    const slice = this.slices.get(this.plane.axis, this.index);
    if (!this.at || !slice) return "";
    const place = this.view.voxelAt(...this.at, this.index).map(Math.round) as Voxel;
    const { shape, slope, intercept, unit } = this.state.scene;
    if (place.some((one, axis) => one < 0 || one >= shape[axis]!)) return "";
    const [a, b] = [0, 1, 2].filter((axis) => axis !== this.plane.axis) as [number, number];
    const value = slice.pixels[place[a]! * shape[b]! + place[b]!]! * slope + intercept;
    return `${Math.round(value)} ${unit}`;
  }

  private resize(): void {
    const { width, height } = this.element.getBoundingClientRect(); // with fractions of a pixel
    this.view.size = [width, height];
    this.state.changed();
  }

  private listen(): void {
    const { canvas } = this;
    canvas.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      event.stopPropagation();
    });
    canvas.addEventListener("wheel", (event) => this.scrolled(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    canvas.addEventListener("pointerup", (event) => this.released(event));
    canvas.addEventListener("pointercancel", (event) => this.released(event));
    canvas.addEventListener("pointerleave", () => this.left());
    canvas.addEventListener("dblclick", () => this.state.tool === "polygon" && this.closePath());
  }

  private place(event: MouseEvent): [number, number] {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  private scrolled(event: WheelEvent): void {
    event.preventDefault();
    event.stopPropagation();
    if (event.ctrlKey) {
      this.view.zoomBy(Math.exp(-event.deltaY / 300), ...this.place(event));
      return this.state.changed();
    }
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : WHEEL_STEP;
    this.wheel += (event.deltaY || event.deltaX) * lines;
    const steps = Math.trunc(this.wheel / WHEEL_STEP);
    this.wheel -= steps * WHEEL_STEP;
    if (steps && !this.drag) this.state.scroll(this.plane, -steps);
  }

  private pressed(event: PointerEvent): void {
    this.canvas.setPointerCapture(event.pointerId);
    this.state.plane = this.state.scene.planes.indexOf(this.plane);
    const asks = this.state.asking && event.button !== 1 && !event.shiftKey;
    const tool = asks ? this.state.tool : event.button === 2 ? "window" : event.button === 1 || event.shiftKey ? "pan" : this.state.tool;
    if (event.button !== 2) event.preventDefault();
    this.canvas.closest<HTMLElement>(".ailab-annotate")?.focus({ preventScroll: true });
    const here = this.view.voxelAt(...this.place(event), this.index);
    if (asks) this.beginClick(here, event.button === 0 && !event.altKey);
    else if (event.altKey) this.lookAt(here);
    else if (tool === "brush" || tool === "eraser") this.beginStroke(here);
    else if (tool === "polygon") this.beginPolygon(here);
    else if (tool === "fill") this.acts.fill(here, this.plane);
    else if (tool === "grow") this.acts.grow(here, this.plane);
    else this.drag = tool === "pan" ? (move) => this.panned(move) : (move) => this.windowed(move);
  }

  private moved(event: PointerEvent): void {
    this.at = this.place(event);
    this.drag?.(event);
    this.state.changed();
  }

  private released(event: PointerEvent): void {
    const drag = this.drag;
    this.drag = null;
    const live = this.state.drafts.find((one) => one.number === LIVE);
    if (live && drag) {
      this.state.drafts = this.state.drafts.filter((one) => one !== live);
      this.acts.stroke(this.path, this.plane, live.cells);
      this.path = [];
    } else if (drag && this.clicked) {
      this.acts.click(this.path, this.clicked.isThere);
      this.path = [];
      this.clicked = null;
    } else if (drag && this.state.tool === "polygon" && this.path.length > 8) this.closePath();
    this.canvas.releasePointerCapture(event.pointerId);
    this.state.changed();
  }

  private left(): void {
    if (this.drag) return;
    this.at = null;
    this.state.changed();
  }

  private beginStroke(here: Voxel): void {
    const live: Draft = { number: LIVE, axis: this.plane.axis, index: this.index, cells: this.acts.cells(this.plane), value: this.acts.value };
    this.path = [here];
    this.state.drafts.push(live);
    sweep(live.cells, this.path, this.state.radius, this.plane, this.state.scene);
    this.drag = (event) => {
      for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
        const next = this.view.voxelAt(...this.place(one), live.index);
        sweep(live.cells, [this.path.at(-1)!, next], this.state.radius, this.plane, this.state.scene);
        this.path.push(next);
      }
    };
    this.state.changed();
  }

  /** A click sets a corner; drawn with the button held it is a lasso. */
  private beginPolygon(here: Voxel): void {
    this.corner(here);
    this.drag = (event) => this.corner(this.view.voxelAt(...this.place(event), this.index));
  }

  /** A click, or a scribble: a place every few voxels is enough. */
  private beginClick(here: Voxel, isThere: boolean): void {
    this.path = [here];
    this.clicked = { isThere };
    this.drag = (event) => {
      if (this.state.tool !== "scribble") return;
      const next = this.view.voxelAt(...this.place(event), this.index);
      const last = this.path.at(-1)!;
      if (Math.hypot(...next.map((one, axis) => one - last[axis]!)) >= SCRIBBLE_STEP) this.path.push(next);
    };
  }

  private panned(event: PointerEvent): void {
    this.view.shift = [this.view.shift[0] + event.movementX, this.view.shift[1] + event.movementY];
  }

  private windowed(event: PointerEvent): void {
    const speed = Math.max(0.2, this.state.width / 400);
    this.state.setWindow(this.state.centre + event.movementY * speed, this.state.width + event.movementX * speed);
  }

  private lookAt(here: Voxel): void {
    here.forEach((index, axis) => this.state.moveTo(axis, index));
  }
}
