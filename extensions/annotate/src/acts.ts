// What a person does to the mask, from any pane, button or key; each is one numbered message.

import type { Link } from "./link";
import { enclose, sweep } from "./raster";
import type { Plane, Voxel } from "./scene";
import type { Slices } from "./slices";
import type { State } from "./state";

export class Acts {
  constructor(
    private readonly state: State,
    private readonly link: Link,
    private readonly slices: Slices,
  ) {}

  stroke(path: Voxel[], plane: Plane, live?: Uint8Array): void {
    const cells = live ?? this.cells(plane);
    if (!live) sweep(cells, path, this.state.radius, plane, this.state.scene);
    this.draw("brush", this.value, path, plane, cells);
  }

  polygon(path: Voxel[], plane: Plane): void {
    if (path.length < 3) return;
    const cells = this.cells(plane);
    enclose(cells, path, plane, this.state.scene);
    this.draw("polygon", this.value, path, plane, cells);
  }

  fill(place: Voxel, plane: Plane): void {
    this.draw("fill", this.state.label, [place], plane, null);
  }

  /** Everything that is connected and has a value within the limits; without limits, within the window. */
  grow(place: Voxel, plane: Plane): void {
    const { within, low, high, centre, width } = this.state;
    const range = within ? [low, high] : [centre - width / 2, centre + width / 2];
    const flat = this.state.ball ? -1 : plane.axis;
    this.send("draw", { ...this.operation("grow", this.state.label), within: range, axis: flat, index: flat < 0 ? 0 : this.state.cursor[plane.axis]! }, [place]);
  }

  /** Ask the helper: the label is at these places, or it is not. */
  click(path: Voxel[], isThere: boolean): void {
    const { label, locked } = this.state;
    this.send("click", { label, value: isThere ? label : 0, locked: [...locked] }, path);
  }

  accept(): void {
    this.send("accept", null, []);
  }

  /** The label becomes another reader's, in the slice that is shown or whole. */
  take(reference: string, whole: boolean): void {
    const { label, locked, active } = this.state;
    const axis = whole ? -1 : active.axis;
    this.send("take", { reference, label, axis, index: whole ? 0 : this.state.cursor[active.axis]!, locked: [...locked] }, []);
  }

  /** Interpolate between slices, remove islands, smooth: on the chosen label. */
  whole(tool: "interpolate" | "islands" | "smooth"): void {
    const axis = tool === "interpolate" ? this.state.active.axis : -1;
    this.send("draw", { ...this.operation(tool, this.state.label), axis, index: 0 }, []);
  }

  undo(): void {
    this.send("undo", null, []);
  }

  redo(): void {
    this.send("redo", null, []);
  }

  /** Cells of a slice, all unmarked. */
  cells(plane: Plane): Uint8Array {
    return new Uint8Array(this.state.scene.shape.reduce((all, one) => all * one, 1) / this.state.scene.shape[plane.axis]!);
  }

  /** Of the cells, those that may be painted: by their value where a range is set. */
  allowed(cells: Uint8Array, plane: Plane): Uint8Array {
    if (!this.state.within) return cells;
    const slice = this.slices.get(plane.axis, this.state.cursor[plane.axis]!);
    const { slope, intercept } = this.state.scene;
    return cells.map((marked, at) => {
      const value = slice ? slice.pixels[at]! * slope + intercept : NaN;
      return marked && value >= this.state.low && value <= this.state.high ? 1 : 0;
    });
  }

  get value(): number {
    return this.state.tool === "eraser" ? 0 : this.state.label;
  }

  private draw(tool: string, value: number, path: Voxel[], plane: Plane, cells: Uint8Array | null): void {
    const index = this.state.cursor[plane.axis]!;
    const flat = this.state.ball && tool === "brush" ? -1 : plane.axis;
    const number = this.send("draw", { ...this.operation(tool, value), axis: flat, index: flat < 0 ? 0 : index }, path);
    if (cells) this.state.drafts.push({ number, axis: plane.axis, index, cells: this.allowed(cells, plane), value });
    this.state.changed();
  }

  private operation(tool: string, label: number): object {
    const { radius, locked, within, low, high } = this.state;
    const smoothing = Math.max(...this.state.scene.spacing.slice(1)) * 1.5;
    return {
      tool,
      label,
      radius_mm: tool === "smooth" ? smoothing : tool === "brush" ? radius : 0,
      locked: [...locked],
      within: within && (tool === "brush" || tool === "polygon") ? [low, high] : null,
    };
  }

  private send(act: string, operation: object | null, path: Voxel[]): number {
    return this.link.act(act, operation, new Float32Array(path.flat()), this.state.shown);
  }
}
