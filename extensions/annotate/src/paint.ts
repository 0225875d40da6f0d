// A slice on a canvas: grey values through the window, labels above them, what is being drawn above those.

import { free, type Plane } from "./scene";
import type { Slice } from "./slices";
import type { State } from "./state";
import type { View } from "./view";

export class Painter {
  private readonly image = document.createElement("canvas");
  private readonly overlay = document.createElement("canvas");

  constructor(
    private readonly view: View,
    private readonly state: State,
  ) {}

  /** One picture; `slice` is undefined while it is on its way. */
  paint(canvas: HTMLCanvasElement, slice: Slice | undefined): void {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = this.view.size;
    const pixels: [number, number] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
    const context = canvas.getContext("2d")!;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    if (slice) {
      const [left, top] = this.view.corner;
      const [wide, high] = this.view.extent.map((mm) => mm * this.view.scale) as [number, number];
      context.imageSmoothingEnabled = this.view.scale * this.view.plane.right.mm < 12;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.grey(slice), left, top, wide, high);
      if (this.state.overlay) {
        const labels = this.withDrafts(slice.labels);
        context.imageSmoothingEnabled = false;
        context.drawImage(this.colours(labels), left, top, wide, high);
        this.outlines(context, labels);
      }
    }
    this.letters(context);
  }

  private grey(slice: Slice): HTMLCanvasElement {
    const { slope, intercept } = this.state.scene;
    const low = this.state.centre - this.state.width / 2;
    const factor = (255 * slope) / this.state.width;
    const offset = ((intercept - low) * 255) / this.state.width;
    return this.filled(this.image, (data, at, from) => {
      // The clamped array rounds and clips.
      data[at] = data[at + 1] = data[at + 2] = slice.pixels[from]! * factor + offset;
      data[at + 3] = 255;
    });
  }

  private colours(labels: Uint8Array): HTMLCanvasElement {
    const table = new Map(this.state.scene.labels.map((label) => [label.value, label.color]));
    const alpha = Math.round(255 * this.state.opacity);
    return this.filled(this.overlay, (data, at, from) => {
      const value = labels[from]!;
      const color = value && !this.state.hidden.has(value) ? table.get(value) : undefined;
      data[at + 3] = color ? alpha : 0;
      if (color) [data[at], data[at + 1], data[at + 2]] = color;
    });
  }

  /** A thin line around every label, so that it is found over bright and dark, and the tissue under it is seen. */
  private outlines(context: CanvasRenderingContext2D, labels: Uint8Array): void {
    const { right, down } = this.view.plane;
    const [wide, high] = [this.view.count(right), this.view.count(down)];
    const [left, top] = this.view.corner;
    const [stepX, stepY] = [right.mm * this.view.scale, down.mm * this.view.scale];
    const row = this.rows();
    const paths = new Map(this.state.scene.labels.map((label) => [label.value, new Path2D()]));
    this.state.hidden.forEach((value) => paths.delete(value));
    for (let y = 0; y < high; y++) {
      const [here, below] = [row(y), y + 1 < high ? row(y + 1) : null];
      for (let x = 0; x < wide; x++) {
        const value = labels[here(x)]!;
        const beside = x + 1 < wide ? labels[here(x + 1)]! : value;
        const under = below ? labels[below(x)]! : value;
        if (value !== beside) line(paths, value, beside, left + (x + 1) * stepX, top + y * stepY, 0, stepY);
        if (value !== under) line(paths, value, under, left + x * stepX, top + (y + 1) * stepY, stepX, 0);
      }
    }
    context.lineWidth = 1.25;
    for (const { value, color } of this.state.scene.labels) {
      context.strokeStyle = `rgb(${color.join(", ")})`;
      context.stroke(paths.get(value) ?? new Path2D());
    }
  }

  /** Where the voxels of a screen row are in a slice. */
  private rows(): (y: number) => (x: number) => number {
    const { right, down } = this.view.plane;
    const [wide, high] = [this.view.count(right), this.view.count(down)];
    const columns = this.state.scene.shape[free(this.view.plane)[1]]!;
    const [stepRight, stepDown] = right.axis > down.axis ? [1, columns] : [columns, 1];
    return (y) => {
      const begin = (down.falls ? high - 1 - y : y) * stepDown;
      return right.falls ? (x) => begin + (wide - 1 - x) * stepRight : (x) => begin + x * stepRight;
    };
  }

  private withDrafts(labels: Uint8Array): Uint8Array {
    const { axis } = this.view.plane;
    const here = this.state.drafts.filter((one) => one.axis === axis && one.index === this.state.cursor[axis]);
    if (!here.length) return labels;
    const found = labels.slice();
    for (const draft of here)
      draft.cells.forEach((marked, at) => {
        if (marked && !this.state.locked.has(found[at]!)) found[at] = draft.value;
      });
    return found;
  }

  /** The slice turned as the screen shows it: `set` gets the picture's place and the slice's. */
  private filled(
    canvas: HTMLCanvasElement,
    set: (data: Uint8ClampedArray, at: number, from: number) => void,
  ): HTMLCanvasElement {
    const { right, down } = this.view.plane;
    const [wide, high] = [this.view.count(right), this.view.count(down)];
    const row = this.rows();
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    const context = canvas.getContext("2d")!;
    const picture = context.createImageData(wide, high);
    for (let y = 0, at = 0; y < high; y++) {
      const here = row(y);
      for (let x = 0; x < wide; x++, at += 4) set(picture.data, at, here(x));
    }
    context.putImageData(picture, 0, 0);
    return canvas;
  }

  private letters(context: CanvasRenderingContext2D): void {
    const { right, down } = this.view.plane;
    const [width, height] = this.view.size;
    context.font = "600 13px system-ui, sans-serif";
    context.fillStyle = "#ffd54a";
    context.shadowColor = "#000";
    context.shadowBlur = 3;
    const put = (text: string, x: number, y: number, align: CanvasTextAlign) => {
      context.textAlign = align;
      context.fillText(text, x, y);
    };
    put(right.begin, 6, height / 2 + 5, "left");
    put(right.end, width - 6, height / 2 + 5, "right");
    put(down.begin, width / 2, 16, "center");
    put(down.end, width / 2, height - 8, "center");
    context.shadowBlur = 0;
  }
}

/** One edge of a voxel, between two values; where two labels meet it is the larger one's. */
function line(
  paths: Map<number, Path2D>, one: number, other: number, x: number, y: number, wide: number, high: number,
): void {
  const path = paths.get(Math.max(one, other)) ?? paths.get(Math.min(one, other));
  path?.moveTo(x, y);
  path?.lineTo(x + wide, y + high);
}

/** Lines, circle and path of what the pointer is about to do. */
export function paintHints(
  canvas: HTMLCanvasElement, view: View, state: State, at: [number, number] | null, path: [number, number][],
): void {
  const context = canvas.getContext("2d")!;
  if (state.three) crossLines(context, view, state);
  context.strokeStyle = colourOf(state);
  context.lineWidth = 1.5;
  if (path.length) {
    context.setLineDash([5, 3]);
    context.beginPath();
    path.forEach(([x, y]) => context.lineTo(x, y));
    if (at) context.lineTo(...at);
    context.stroke();
    context.setLineDash([]);
  }
  if (at && (state.tool === "brush" || state.tool === "eraser")) {
    context.beginPath();
    context.arc(at[0], at[1], Math.max(1.5, state.radius * view.scale), 0, 2 * Math.PI);
    context.stroke();
  }
}

function crossLines(context: CanvasRenderingContext2D, view: View, state: State): void {
  const [x, y] = view.screenOf(state.cursor);
  context.strokeStyle = "rgba(120, 200, 255, 0.75)";
  context.lineWidth = 1;
  context.beginPath();
  for (const [x0, y0, x1, y1] of [[0, y, x - 8, y], [x + 8, y, view.size[0], y], [x, 0, x, y - 8], [x, y + 8, x, view.size[1]]]) {
    context.moveTo(x0!, y0!);
    context.lineTo(x1!, y1!);
  }
  context.stroke();
}

function colourOf(state: State): string {
  const label = state.scene.labels.find((one) => one.value === state.label);
  return state.tool === "eraser" || !label ? "#fff" : `rgb(${label.color.join(", ")})`;
}

export function planeTitle(state: State, plane: Plane): string {
  const count = state.scene.shape[plane.axis]!;
  const index = state.cursor[plane.axis]!;
  return `${plane.name} ${(plane.falls ? count - index : index + 1).toString()} / ${count}`;
}
