// Slices that the kernel sent, newest kept; what comes next in the direction of scrolling is asked for ahead.

import { bytesOf, pixelsOf, type Pixels, type Scene } from "./scene";

export interface Slice {
  pixels: Pixels;
  labels: Uint8Array;
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
    private readonly ask: (list: [number, number][]) => void,
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
    this.ask(missing);
  }

  receive(axis: number, index: number, buffers: DataView[]): void {
    const key = `${axis}:${index}`;
    this.asked.delete(key);
    const before = this.held.get(key);
    const pixels = before?.pixels ?? pixelsOf(this.scene.dtype, buffers[0]!);
    if (before) this.held.delete(key);
    else this.bytes += pixels.byteLength + buffers[1]!.byteLength;
    this.held.set(key, { pixels, labels: bytesOf(buffers[1]!), stale: false });
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
      this.bytes -= one.pixels.byteLength + one.labels.byteLength;
      this.held.delete(key);
    }
  }
}
