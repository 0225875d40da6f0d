// From a volume in small to a picture of it: directions of view, brightness, and light on surfaces.

import type { Pixels } from "./scene";

export type Three = [number, number, number];

export const dot = (one: Three, other: Three) => one[0] * other[0] + one[1] * other[1] + one[2] * other[2];

/** Where cells of the volume in small lie on the screen, for one direction of view; parallel rays. */
export class Camera {
  turned = 0; // about head and feet; 0: from the front
  tilted = 0; // about the screen's right
  zoom = 1;

  /** Patient directions (L, P, H) of the screen's right, its down, and into it. */
  get axes(): [Three, Three, Three] {
    const [sin, cos, up, flat] = [Math.sin(this.turned), Math.cos(this.turned), Math.sin(this.tilted), Math.cos(this.tilted)];
    const into: Three = [-sin, cos, 0];
    return [[cos, sin, 0], [into[0] * up, into[1] * up, -flat], [into[0] * flat, into[1] * flat, up]];
  }

  turn(right: number, down: number): void {
    this.turned += right;
    this.tilted = Math.min(Math.PI / 2, Math.max(-Math.PI / 2, this.tilted + down));
  }
}

/** From soft tissue to the brightest: the 60th and the 99.8th of every few cells, in percent. */
export function windowOf(cells: Pixels | Uint8Array): [number, number] {
  const some = Array.from({ length: Math.min(20_000, cells.length) }, (_, at) => cells[Math.floor((at * cells.length) / 20_000)] ?? cells[at]!);
  some.sort((one, other) => one - other);
  const low = some[Math.floor(some.length * 0.6)]!;
  return [low, Math.max(low + 1, some[Math.floor(some.length * 0.998)]!)];
}

/** How bright a surface is, lit from where we stand: 0.5 to 1. */
export function lit(near: Float32Array, at: number, side: number, cell: number): number {
  const slope = (one: number, other: number) => {
    const rise = (near[one] ?? Infinity) - (near[other] ?? Infinity);
    return Number.isFinite(rise) ? rise / (2 * cell) : 0;
  };
  const steep = Math.hypot(slope(at - 1, at + 1), slope(at - side, at + side));
  return 0.5 + 0.5 / Math.sqrt(1 + steep * steep);
}
