// Where a voxel is on a canvas, and which voxel is under a pointer: one scale for both directions, in millimetres.

import type { Plane, Scene, Side, Voxel } from "./scene";

export class View {
  zoom = 1; // beyond the fit
  shift: [number, number] = [0, 0]; // CSS pixels
  size: [number, number] = [1, 1]; // CSS pixels of the canvas

  constructor(
    readonly plane: Plane,
    private readonly scene: Scene,
  ) {}

  /** CSS pixels a millimetre. */
  get scale(): number {
    const [width, height] = this.extent;
    return Math.min(this.size[0] / width, this.size[1] / height) * this.zoom;
  }

  /** Left and top of the image on the canvas. */
  get corner(): [number, number] {
    const [width, height] = this.extent;
    return [
      (this.size[0] - width * this.scale) / 2 + this.shift[0],
      (this.size[1] - height * this.scale) / 2 + this.shift[1],
    ];
  }

  /** Width and height of the image, mm. */
  get extent(): [number, number] {
    const { right, down } = this.plane;
    return [this.count(right) * right.mm, this.count(down) * down.mm];
  }

  count(side: Side): number {
    return this.scene.shape[side.axis]!;
  }

  screenOf(voxel: Voxel): [number, number] {
    const [left, top] = this.corner;
    return [left + this.along(this.plane.right, voxel), top + this.along(this.plane.down, voxel)];
  }

  /** The place under a canvas point; in the plane's own slice. */
  voxelAt(x: number, y: number, slice: number): Voxel {
    const [left, top] = this.corner;
    const found: Voxel = [0, 0, 0];
    found[this.plane.axis] = slice;
    found[this.plane.right.axis] = this.index(this.plane.right, x - left);
    found[this.plane.down.axis] = this.index(this.plane.down, y - top);
    return found;
  }

  /** Zoom about a canvas point, which stays where it is. */
  zoomBy(factor: number, x: number, y: number): void {
    const before = this.voxelAt(x, y, 0);
    this.zoom = Math.min(40, Math.max(0.5, this.zoom * factor));
    const [nowX, nowY] = this.screenOf(before);
    this.shift = [this.shift[0] + x - nowX, this.shift[1] + y - nowY];
  }

  fit(): void {
    this.zoom = 1;
    this.shift = [0, 0];
  }

  private along(side: Side, voxel: Voxel): number {
    const index = voxel[side.axis]!;
    const shown = side.falls ? this.count(side) - 1 - index : index;
    return (shown + 0.5) * side.mm * this.scale;
  }

  private index(side: Side, pixels: number): number {
    const shown = pixels / this.scale / side.mm - 0.5;
    return side.falls ? this.count(side) - 1 - shown : shown;
  }
}
