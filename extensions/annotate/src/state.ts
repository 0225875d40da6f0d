// What the person has chosen, and where they look; every view draws from it and nothing else.

import type { Plane, Scene, Standing, Voxel } from "./scene";

export type Tool = "brush" | "eraser" | "polygon" | "fill" | "grow" | "click" | "scribble" | "pan" | "window";

export interface Draft {
  number: number;
  axis: number;
  index: number;
  cells: Uint8Array;
  value: number;
}

export class State {
  tool: Tool = "brush";
  label: number;
  radius: number; // mm
  ball = false; // the brush is a ball, not a disc
  within = false; // only values between low and high are painted
  low: number;
  high: number;
  opacity = 0.35;
  overlay = true;
  hidden = new Set<number>();
  locked = new Set<number>();
  hiddenReferences = new Set<number>();
  plane = 0;
  three = false;
  cursor: Voxel;
  direction = 1;
  centre: number;
  width: number;
  standing: Standing = { edits: 0, undo: false, redo: false, slices: [], voxels: [], clicks: [], clicked: 0, thinking: false };
  drafts: Draft[] = [];
  private readonly listeners: (() => void)[] = [];
  private due = false;

  constructor(readonly scene: Scene) {
    this.label = scene.labels[0]?.value ?? 0;
    this.cursor = scene.shape.map((count) => Math.floor(count / 2)) as Voxel;
    const [, centre, width] = scene.windows[0] ?? ["", 0, 1];
    this.centre = centre;
    this.width = width;
    this.low = centre - width / 2;
    this.high = centre + width / 2;
    this.radius = Math.max(3, Math.round(2 * Math.max(...scene.spacing)));
  }

  /** Whether what is pointed at goes to the helper, not to the mask. */
  get asking(): boolean {
    return this.tool === "click" || this.tool === "scribble";
  }

  get shownPlanes(): Plane[] {
    return this.three ? this.scene.planes : [this.active];
  }

  get active(): Plane {
    return this.scene.planes[this.plane]!;
  }

  /** Axis and index of every slice on the screen. */
  get shown(): [number, number][] {
    return this.shownPlanes.map((plane) => [plane.axis, this.cursor[plane.axis]!]);
  }

  listen(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Draw everything anew before the next picture, once. */
  changed(): void {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.listeners.forEach((listener) => listener());
    });
  }

  /** Towards head, front or left by `steps` (down when negative). */
  scroll(plane: Plane, steps: number): void {
    const step = plane.falls ? -steps : steps;
    this.direction = Math.sign(step) || 1;
    this.moveTo(plane.axis, this.cursor[plane.axis]! + step);
  }

  moveTo(axis: number, index: number): void {
    this.cursor[axis] = Math.min(this.scene.shape[axis]! - 1, Math.max(0, Math.round(index)));
    this.changed();
  }

  choose(tool: Tool): void {
    this.tool = tool;
    this.changed();
  }

  setRadius(radius: number): void {
    this.radius = Math.min(100, Math.max(0.2, Math.round(radius * 10) / 10));
    this.changed();
  }

  setWindow(centre: number, width: number): void {
    this.centre = Math.round(centre);
    this.width = Math.max(1, Math.round(width));
    this.changed();
  }

  nextWindow(): void {
    const all = this.scene.windows;
    const now = all.findIndex(([, centre, width]) => centre === this.centre && width === this.width);
    const [, centre, width] = all[(now + 1) % all.length]!;
    this.setWindow(centre, width);
  }

  toggle(set: Set<number>, value: number): void {
    if (!set.delete(value)) set.add(value);
    this.changed();
  }
}
