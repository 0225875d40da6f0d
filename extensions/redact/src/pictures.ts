// Frames on demand, the newest kept.

const MOST_PIXELS = 64e6;
const AHEAD = 2;

export class Pictures {
  private readonly held = new Map<string, ImageBitmap>();
  private readonly asked = new Map<string, number>(); // when, ms

  constructor(
    private readonly ask: (name: string, index: number, faint: boolean) => void,
    private readonly came: () => void,
  ) {}

  get(name: string, index: number, faint: boolean): ImageBitmap | undefined {
    const key = keyOf(name, index, faint);
    const found = this.held.get(key);
    if (found) {
      this.held.delete(key); // and in again, as the newest
      this.held.set(key, found);
    }
    return found;
  }

  /** Ask for a frame and for those beside it. */
  need(name: string, index: number, faint: boolean, frames: number): void {
    for (let step = 0; step <= AHEAD; step++)
      for (const one of new Set([index + step, index - step]))
        if (one >= 0 && one < frames) this.want(name, one, faint);
  }

  async receive(name: string, index: number, faint: boolean, png: DataView): Promise<void> {
    const key = keyOf(name, index, faint);
    const bytes = new Uint8Array(png.buffer as ArrayBuffer, png.byteOffset, png.byteLength);
    this.held.set(key, await createImageBitmap(new Blob([bytes], { type: "image/png" })));
    this.asked.delete(key);
    let pixels = 0;
    for (const [old, one] of [...this.held].reverse()) {
      pixels += one.width * one.height;
      if (pixels > MOST_PIXELS && old !== key) {
        one.close();
        this.held.delete(old);
      }
    }
    this.came();
  }

  private want(name: string, index: number, faint: boolean): void {
    const key = keyOf(name, index, faint);
    const before = this.asked.get(key);
    if (this.held.has(key) || (before !== undefined && performance.now() - before < 5000)) return;
    this.asked.set(key, performance.now());
    this.ask(name, index, faint);
  }
}

const keyOf = (name: string, index: number, faint: boolean): string => `${name} ${index} ${faint}`;
