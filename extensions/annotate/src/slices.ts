// Slices that the kernel sent, newest kept; what comes next in the direction of scrolling is asked for ahead.

import { bytesOf, pixelsOf, type Pixels, type Scene } from "./scene";

export interface Slice {
  pixels: Pixels;
  labels: Uint8Array;
  references: Uint8Array[];
  stale: boolean; // its labels changed since
}

const MOST_BYTES = 256 * 2 ** 20;
const AHEAD = 6;
const BEHIND = 2;

export class Slices {
  private readonly held = new Map<string, Slice>();
  private readonly asked = new Set<string>();
  private bytes = 0;

  constructor(
    private readonly scene: Scene,
    private readonly ask: (want: [number, number][], labels: [number, number][]) => void,
  ) {}

  get(axis: number, index: number): Slice | undefined {
    return this.held.get(`${axis}:${index}`);
  }

  /** Ask for what is shown, and for what is likely to be next. */
  need(shown: [number, number][], direction: number): void {
    const list: [number, number][] = [...shown];
    for (const [axis, index] of shown)
      for (let step = -BEHIND; step <= AHEAD; step++) list.push([axis, index + step * (direction || 1)]);
    const missing = list.filter(([axis, index]) => {
      const key = `${axis}:${index}`;
      if (index < 0 || index >= this.scene.shape[axis]! || this.asked.has(key)) return false;
      if (this.held.has(key) && !this.held.get(key)!.stale) return false;
      this.asked.add(key);
      return true;
    });
    const held = ([axis, index]: [number, number]) => this.held.has(`${axis}:${index}`);
    this.ask(missing.filter((one) => !held(one)), missing.filter(held));
  }

  receive(axis: number, index: number, buffers: DataView[]): void {
    const key = `${axis}:${index}`;
    this.asked.delete(key);
    const before = this.held.get(key);
    if (!before && buffers.length < 2) return; // it was forgotten meanwhile, and will be asked for again
    const labels = bytesOf(buffers[0]!);
    const one = before ?? { pixels: pixelsOf(this.scene.dtype, buffers[1]!), labels, references: buffers.slice(2).map(bytesOf), stale: false };
    if (before) this.held.delete(key);
    else this.bytes += sizeOf(one);
    this.held.set(key, Object.assign(one, { labels, stale: false }));
    this.forgetOldest();
  }

  /** Labels changed between these indices of each axis; the shown slices' new ones came along. */
  changed(span: [number, number][], shown: [number, number][], buffers: DataView[]): void {
    if (span.length)
      for (const [key, one] of this.held) {
        const [axis, index] = key.split(":").map(Number) as [number, number];
        if (index >= span[axis]![0] && index <= span[axis]![1]) one.stale = true;
      }
    shown.forEach(([axis, index], number) => {
      const one = this.get(axis, index);
      if (one) Object.assign(one, { labels: bytesOf(buffers[number]!), stale: false });
    });
  }

  /** Somebody else drew, or the line was lost: ask anew for everything. */
  refresh(): void {
    this.asked.clear();
    this.held.forEach((one) => (one.stale = true));
  }

  private forgetOldest(): void {
    for (const [key, one] of this.held) {
      if (this.bytes <= MOST_BYTES) return;
      this.bytes -= sizeOf(one);
      this.held.delete(key);
    }
  }
}

function sizeOf(one: Slice): number {
  return one.pixels.byteLength + one.labels.byteLength * (1 + one.references.length);
}
