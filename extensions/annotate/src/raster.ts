// The kernel's rasteriser in small, so that a stroke is seen while it is drawn; what counts is the kernel's own.

import { free, type Plane, type Scene, type Voxel } from "./scene";

/** Marks the cells of a slice (rows × columns of the plane's free axes) under a disc that goes along a path. */
export function sweep(cells: Uint8Array, path: Voxel[], radius: number, plane: Plane, scene: Scene): void {
  const [a, b] = free(plane);
  const rows = scene.shape[a]!;
  const columns = scene.shape[b]!;
  const [aa, ab, bb] = [scene.metric[a]![a]!, scene.metric[a]![b]!, scene.metric[b]![b]!];
  const spread = 1 - (ab * ab) / (aa * bb);
  const reachA = radius / Math.sqrt(aa * spread);
  const reachB = radius / Math.sqrt(bb * spread);
  path.forEach((end, number) => {
    const begin = path[Math.max(0, number - 1)]!;
    const [a0, b0, a1, b1] = [begin[a]!, begin[b]!, end[a]! - begin[a]!, end[b]! - begin[b]!];
    const length = aa * a1 * a1 + 2 * ab * a1 * b1 + bb * b1 * b1;
    const [firstA, lastA] = span(begin[a]!, end[a]!, reachA, rows);
    const [firstB, lastB] = span(begin[b]!, end[b]!, reachB, columns);
    for (let row = firstA; row <= lastA; row++) {
      for (let column = firstB; column <= lastB; column++) {
        let x = row - a0;
        let y = column - b0;
        if (length > 0) {
          const share = (x * (aa * a1 + ab * b1) + y * (ab * a1 + bb * b1)) / length;
          const near = Math.min(1, Math.max(0, share));
          x -= near * a1;
          y -= near * b1;
        }
        if (aa * x * x + 2 * ab * x * y + bb * y * y <= radius * radius + 1e-9) cells[row * columns + column] = 1;
      }
    }
    const row = Math.floor(end[a]! + 0.5);
    const column = Math.floor(end[b]! + 0.5);
    if (row >= 0 && row < rows && column >= 0 && column < columns) cells[row * columns + column] = 1;
  });
}

/** Marks the cells whose centre is inside a closed polygon (even-odd). */
export function enclose(cells: Uint8Array, path: Voxel[], plane: Plane, scene: Scene): void {
  const [a, b] = free(plane);
  const columns = scene.shape[b]!;
  for (let row = 0; row < scene.shape[a]!; row++) {
    const crossings: number[] = [];
    path.forEach((one, number) => {
      const two = path[(number + 1) % path.length]!;
      if (one[a]! > row !== two[a]! > row)
        crossings.push(one[b]! + ((row - one[a]!) * (two[b]! - one[b]!)) / (two[a]! - one[a]!));
    });
    crossings.sort((one, two) => one - two);
    for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
      const last = Math.min(Math.ceil(crossings[pair + 1]!) - 1, columns - 1);
      for (let column = Math.max(0, Math.ceil(crossings[pair]!)); column <= last; column++)
        cells[row * columns + column] = 1;
    }
  }
}

function span(one: number, two: number, reach: number, count: number): [number, number] {
  return [Math.max(0, Math.ceil(Math.min(one, two) - reach)), Math.min(count - 1, Math.floor(Math.max(one, two) + reach))];
}
