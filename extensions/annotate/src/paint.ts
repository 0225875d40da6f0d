// A slice on a canvas: grey values through the window, labels above them, what is being drawn above those.

import { free, type Label, type Pixels, type Plane } from "./scene";
import type { Slice } from "./slices";
import type { State } from "./state";
import type { View } from "./view";

/** A slice's values as a picture; it is made anew only when they or their colours change. */
interface Layer {
  canvas: HTMLCanvasElement;
  values: Pixels | null;
  table: Uint32Array | null;
}

const layer = (): Layer => ({ canvas: document.createElement("canvas"), values: null, table: null });

export class Painter {
  private readonly image = layer();
  private readonly overlay = layer();
  private readonly tables = new Map<string, [string, Uint32Array]>();
  private readonly paths = new WeakMap<Uint8Array, { key: string; paths: Map<number, Path2D> }>();

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
      context.drawImage(this.filled(this.image, slice.pixels, this.greys), left, top, wide, high);
      if (this.state.overlay) {
        const labels = this.withDrafts(slice.labels);
        context.imageSmoothingEnabled = false;
        context.drawImage(this.filled(this.overlay, labels, this.colours), left, top, wide, high);
        slice.references.forEach((one, number) => {
          const colour = this.state.scene.references[number]!.color;
          if (!this.state.hiddenReferences.has(number)) this.outlines(context, one, () => colour, [5, 3]);
        });
        const colours = new Map(this.state.scene.labels.map((label) => [label.value, label.color]));
        this.outlines(context, labels, (value) => (this.state.hidden.has(value) ? undefined : colours.get(value)));
      }
    }
    this.letters(context);
  }

  /** What every stored value looks like in the window. */
  private get greys(): Uint32Array {
    const { scene, centre, width } = this.state;
    const low = centre - width / 2;
    const signed = scene.dtype.startsWith("int");
    return this.table("greys", `${centre}|${width}`, 65536, (value) => {
      const stored = signed && value >= 32768 ? value - 65536 : value;
      const grey = Math.min(255, Math.max(0, Math.round(((stored * scene.slope + scene.intercept - low) * 255) / width)));
      return rgba(grey, grey, grey, 255);
    });
  }

  private get colours(): Uint32Array {
    const { scene, hidden, opacity } = this.state;
    const shown = new Map(scene.labels.filter((label) => !hidden.has(label.value)).map((label) => [label.value, label.color]));
    return this.table("colours", `${opacity}|${[...hidden].join()}`, 256, (value) => {
      const colour = shown.get(value);
      return colour ? rgba(...colour, Math.round(255 * opacity)) : 0;
    });
  }

  private table(name: string, key: string, size: number, colour: (value: number) => number): Uint32Array {
    const found = this.tables.get(name);
    if (found?.[0] === key) return found[1];
    const made = Uint32Array.from({ length: size }, (_, value) => colour(value));
    this.tables.set(name, [key, made]);
    return made;
  }

  /** A thin line around every label, so that it is found over bright and dark, and the tissue under it is seen. */
  private outlines(
    context: CanvasRenderingContext2D, labels: Uint8Array, colour: (value: number) => number[] | undefined, dashes: number[] = [],
  ): void {
    context.lineWidth = dashes.length ? 1.75 : 1.25;
    context.setLineDash(dashes);
    for (const [value, path] of this.pathsOf(labels, this.state.scene.labels.filter((label) => colour(label.value)))) {
      context.strokeStyle = `rgb(${colour(value)!.join(", ")})`;
      context.stroke(path);
    }
    context.setLineDash([]);
  }

  private pathsOf(labels: Uint8Array, shown: Label[]): Map<number, Path2D> {
    const { right, down } = this.view.plane;
    const [wide, high] = [this.view.count(right), this.view.count(down)];
    const [left, top] = this.view.corner;
    const [stepX, stepY] = [right.mm * this.view.scale, down.mm * this.view.scale];
    const key = [left, top, stepX, stepY, ...shown.map((label) => label.value)].join();
    const held = this.paths.get(labels);
    if (held?.key === key) return held.paths;
    const paths = new Map(shown.map((label) => [label.value, new Path2D()]));
    const { begin, step } = this.rows();
    for (let y = 0; y < high; y++) {
      const below = y + 1 < high ? begin(y + 1) - begin(y) : 0;
      for (let x = 0, at = begin(y); x < wide; x++, at += step) {
        const value = labels[at]!;
        const beside = x + 1 < wide ? labels[at + step]! : value;
        const under = labels[at + below]!;
        if (value !== beside) line(paths, value, beside, left + (x + 1) * stepX, top + y * stepY, 0, stepY);
        if (value !== under) line(paths, value, under, left + x * stepX, top + (y + 1) * stepY, stepX, 0);
      }
    }
    this.paths.set(labels, { key, paths });
    return paths;
  }

  /** Where a screen row begins in a slice, and the step from one of its voxels to the next. */
  private rows(): { begin(y: number): number; step: number } {
    const { right, down } = this.view.plane;
    const [wide, high] = [this.view.count(right), this.view.count(down)];
    const columns = this.state.scene.shape[free(this.view.plane)[1]]!;
    const [stepRight, stepDown] = right.axis > down.axis ? [1, columns] : [columns, 1];
    const first = right.falls ? (wide - 1) * stepRight : 0;
    return { begin: (y) => first + (down.falls ? high - 1 - y : y) * stepDown, step: right.falls ? -stepRight : stepRight };
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

  /** The slice turned as the screen shows it, each value in its colour. */
  private filled(target: Layer, values: Pixels, table: Uint32Array): HTMLCanvasElement {
    if (target.values === values && target.table === table) return target.canvas;
    const { right, down } = this.view.plane;
    const [wide, high] = [this.view.count(right), this.view.count(down)];
    const { begin, step } = this.rows();
    const { canvas } = target;
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    const context = canvas.getContext("2d")!;
    const picture = context.createImageData(wide, high);
    const out = new Uint32Array(picture.data.buffer);
    for (let y = 0, at = 0; y < high; y++)
      for (let x = 0, from = begin(y); x < wide; x++, at++, from += step) out[at] = table[values[from]! & 0xffff]!;
    context.putImageData(picture, 0, 0);
    Object.assign(target, { values, table });
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

/** As a canvas holds it on every machine that browsers run on: little-endian. */
const rgba = (red: number, green: number, blue: number, alpha: number) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/** One edge of a voxel, between two values; where two labels meet it is the larger one's. */
function line(
  paths: Map<number, Path2D>, one: number, other: number, x: number, y: number, wide: number, high: number,
): void {
  const path = paths.get(Math.max(one, other)) ?? paths.get(Math.min(one, other));
  path?.moveTo(x, y);
  path?.lineTo(x + wide, y + high);
}

export function planeTitle(state: State, plane: Plane): string {
  const count = state.scene.shape[plane.axis]!;
  const index = state.cursor[plane.axis]!;
  return `${plane.name} ${(plane.falls ? count - index : index + 1).toString()} / ${count}`;
}
