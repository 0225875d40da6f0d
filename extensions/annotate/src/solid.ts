// The fourth pane: the largest value along every ray (MIP) and the labels' surface, turned with the mouse.

import { Camera, dot, lit, type Three, windowOf } from "./camera";
import { bytesOf, pixelsOf, type Pixels, type Voxel } from "./scene";
import type { State } from "./state";

const TURN = 0.01; // radians a pixel
const STEP = Math.PI / 12; // a key
const LETTERS: [string, Three][] = [["L", [1, 0, 0]], ["R", [-1, 0, 0]], ["P", [0, 1, 0]], ["A", [0, -1, 0]], ["H", [0, 0, 1]], ["F", [0, 0, -1]]];

interface Small {
  cells: Pixels | Uint8Array;
  edits: number;
}

export class Solid {
  readonly element = document.createElement("div");
  readonly canvas = document.createElement("canvas");
  readonly camera = new Camera();
  private readonly title = document.createElement("div");
  private readonly picture = document.createElement("canvas");
  private readonly watcher: ResizeObserver;
  private size: [number, number] = [1, 1];
  private image: Small | null = null;
  private labels: Small | null = null;
  private asked = false;
  private counts: Voxel = [1, 1, 1];
  private steps: Three[] = []; // mm from cell to cell
  private cell = 1; // mm a pixel of the small picture
  private side = 1; // its pixels
  private window: [number, number] | null = null;
  private brightest = new Int32Array(0); // which cell each of its pixels shows
  private drawn = "";
  private from: { x: number; y: number; moved: boolean } | null = null;

  constructor(
    private readonly state: State,
    private readonly ask: (what: "image" | "labels") => void,
  ) {
    this.element.className = "ailab-pane ailab-solid";
    this.title.className = "ailab-pane-title";
    this.title.textContent = "3-D";
    this.canvas.title = "drag turns it, a click goes there, the wheel zooms (Ctrl+arrows)";
    this.element.append(this.canvas, this.title);
    this.listen();
    this.watcher = new ResizeObserver(() => {
      const { width, height } = this.element.getBoundingClientRect();
      this.size = [width, height];
      state.changed();
    });
    this.watcher.observe(this.element);
  }

  close(): void {
    this.watcher.disconnect();
  }

  get ready(): boolean {
    return this.image !== null && this.labels?.edits === this.state.standing.edits;
  }

  receive(told: { what: string; counts: Voxel; edits: number }, buffer: DataView): void {
    const { scene } = this.state;
    if (told.what === "image") {
      this.counts = told.counts;
      this.steps = told.counts.map((count, axis) => scene.directions.map((row) => (row[axis]! * scene.shape[axis]!) / count) as Three);
      const lengths = this.steps.map((step, axis) => Math.hypot(...step) * told.counts[axis]!);
      this.cell = 1.15 * Math.max(...this.steps.map((step) => Math.hypot(...step)));
      this.side = Math.ceil(Math.hypot(...lengths) / this.cell) + 2;
      this.image = { cells: pixelsOf(scene.dtype, buffer), edits: 0 };
    } else this.labels = { cells: bytesOf(buffer), edits: told.edits };
    this.asked = false;
    this.drawn = "";
  }

  paint(): void {
    this.need();
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = this.size;
    [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const context = this.canvas.getContext("2d")!;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!this.image) return;
    const key = JSON.stringify([this.camera, this.labels?.edits, [...this.state.hidden], this.state.overlay, this.state.opacity]);
    if (key !== this.drawn) this.project();
    this.drawn = key;
    const wide = this.side * this.cell * this.scale;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.picture, (width - wide) / 2, (height - wide) / 2, wide, wide);
    this.marks(context);
  }

  step(key: string): void {
    this.camera.turn(key.endsWith("left") ? -STEP : key.endsWith("right") ? STEP : 0, key.endsWith("up") ? -STEP : key.endsWith("down") ? STEP : 0);
    this.state.changed();
  }

  /** CSS pixels of the canvas where a voxel is. */
  screenOf(voxel: Voxel): [number, number] {
    const { shape, directions } = this.state.scene;
    const away = voxel.map((index, axis) => index + 0.5 - shape[axis]! / 2);
    const place = directions.map((row) => row[0]! * away[0]! + row[1]! * away[1]! + row[2]! * away[2]!) as Three;
    const [right, down] = this.camera.axes;
    return [this.size[0] / 2 + dot(place, right) * this.scale, this.size[1] / 2 + dot(place, down) * this.scale];
  }

  private get scale(): number {
    const { shape, spacing } = this.state.scene;
    const longest = Math.max(...shape.map((count, axis) => count * spacing[axis]!));
    return (Math.min(...this.size) / (1.12 * longest)) * this.camera.zoom;
  }

  private need(): void {
    if (this.asked || this.ready) return;
    this.asked = true;
    this.ask(this.image ? "labels" : "image");
  }

  /** Every cell onto the small picture: the brightest of each ray, and the nearest that has a label. */
  private project(): void {
    const { side, cell, counts } = this;
    const [right, down, into] = this.camera.axes;
    const [s, r, c] = this.steps.map((step) => [dot(step, right) / cell, dot(step, down) / cell, dot(step, into)]) as [Three, Three, Three];
    const begin = [0, 1, 2].map((one) => -(s[one]! * (counts[0] - 1) + r[one]! * (counts[1] - 1) + c[one]! * (counts[2] - 1)) / 2);
    const [left, top] = [begin[0]! + side / 2, begin[1]! + side / 2];
    const best = new Float32Array(side * side).fill(-Infinity);
    const which = new Int32Array(side * side).fill(-1);
    const near = new Float32Array(side * side).fill(Infinity);
    const value = new Uint8Array(side * side);
    const cells = this.image!.cells;
    const labels = this.state.overlay ? this.labels?.cells : undefined;
    const shown = Uint8Array.from({ length: 256 }, (_, one) => (one && !this.state.hidden.has(one) ? 1 : 0));
    for (let at = 0, i = 0; i < counts[0]; i++)
      for (let j = 0; j < counts[1]; j++) {
        let x = left + i * s[0] + j * r[0];
        let y = top + i * s[1] + j * r[1];
        for (let k = 0; k < counts[2]; k++, at++, x += c[0], y += c[1]) {
          const place = (y | 0) * side + (x | 0);
          if (cells[at]! > best[place]!) {
            best[place] = cells[at]!;
            which[place] = at;
          }
          if (labels && shown[labels[at]!]) {
            const depth = begin[2]! + i * s[2] + j * r[2] + k * c[2];
            if (depth < near[place]!) {
              near[place] = depth;
              value[place] = labels[at]!;
              which[place] = at;
              best[place] = Infinity; // the click goes to the label
            }
          }
        }
      }
    this.brightest = which;
    this.show(best, near, value);
  }

  private show(best: Float32Array, near: Float32Array, value: Uint8Array): void {
    const { side } = this;
    this.window ??= windowOf(this.image!.cells);
    const [low, high] = this.window;
    const colours = new Map(this.state.scene.labels.map((label) => [label.value, label.color]));
    [this.picture.width, this.picture.height] = [side, side];
    const context = this.picture.getContext("2d")!;
    const data = context.createImageData(side, side);
    for (let at = 0; at < best.length; at++) {
      if (best[at] === -Infinity) continue;
      data.data[4 * at + 3] = 255;
      const colour = colours.get(value[at]!);
      const grey = ((best[at]! - low) / (high - low)) * 255;
      const shade = colour ? lit(near, at, side, this.cell) : 0;
      for (let one = 0; one < 3; one++) data.data[4 * at + one] = colour ? colour[one]! * shade : grey;
    }
    context.putImageData(data, 0, 0);
  }

  /** Letters where the patient's directions point, and the cursor. */
  private marks(context: CanvasRenderingContext2D): void {
    const [right, down, into] = this.camera.axes;
    const reach = Math.min(...this.size) / 2 - 12;
    const middle = this.size.map((one) => one / 2) as [number, number];
    context.font = "600 13px system-ui, sans-serif";
    [context.textAlign, context.textBaseline, context.shadowColor, context.shadowBlur] = ["center", "middle", "#000", 3];
    for (const [letter, direction] of LETTERS) {
      const [x, y] = [dot(direction, right), dot(direction, down)];
      if (Math.hypot(x, y) < 0.5) continue; // it points at us, or away
      context.fillStyle = dot(direction, into) > 0.5 ? "#9a8233" : "#ffd54a";
      context.fillText(letter, middle[0] + x * reach, middle[1] + y * reach);
    }
    const [x, y] = this.screenOf(this.state.cursor);
    context.shadowBlur = 0;
    context.strokeStyle = "rgba(120, 200, 255, 0.9)";
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]] as const) {
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 11 * dx, y + 11 * dy);
    }
    context.stroke();
  }

  private listen(): void {
    const { canvas } = this;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      canvas.closest<HTMLElement>(".ailab-annotate")?.focus({ preventScroll: true });
      this.from = { x: event.clientX, y: event.clientY, moved: false };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.from) return;
      const [dx, dy] = [event.clientX - this.from.x, event.clientY - this.from.y];
      if (!this.from.moved && Math.hypot(dx, dy) < 3) return;
      this.camera.turn(-dx * TURN, -dy * TURN);
      this.from = { x: event.clientX, y: event.clientY, moved: true };
      this.state.changed();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (this.from && !this.from.moved) this.goTo(event);
      this.from = null;
    });
    canvas.addEventListener("pointercancel", () => (this.from = null));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.camera.zoom = Math.min(8, Math.max(0.5, this.camera.zoom * Math.exp(-event.deltaY / 600)));
      this.state.changed();
    }, { passive: false });
  }

  /** The cursor goes to what is seen under the pointer. */
  private goTo(event: PointerEvent): void {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - this.size[0] / 2, event.clientY - box.top - this.size[1] / 2];
    const pixel = 1 / (this.cell * this.scale);
    const [column, row] = [Math.floor(x * pixel + this.side / 2), Math.floor(y * pixel + this.side / 2)];
    const at = column >= 0 && column < this.side ? (this.brightest[row * this.side + column] ?? -1) : -1;
    if (at < 0) return;
    const [, rows, columns] = this.counts;
    const cell = [Math.floor(at / rows / columns), Math.floor(at / columns) % rows, at % columns];
    cell.forEach((one, axis) => this.state.moveTo(axis, ((one + 0.5) * this.state.scene.shape[axis]!) / this.counts[axis]! - 0.5));
  }
}
