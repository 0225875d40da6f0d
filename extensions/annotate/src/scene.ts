// What the kernel says about a session: places, labels, windows. Nothing here names a patient.

export type Voxel = [number, number, number]; // slice, row, column; fractions allowed, centres at whole numbers

export interface Side {
  axis: number;
  falls: boolean;
  mm: number;
  begin: string;
  end: string;
}

export interface Plane {
  name: string;
  axis: number;
  falls: boolean;
  right: Side;
  down: Side;
}

export interface Label {
  value: number;
  name: string;
  meaning: string;
  color: [number, number, number];
}

export type Pixels = Int16Array | Uint16Array | Int8Array | Uint8Array;

export interface Scene {
  version: string;
  session: string;
  title: string;
  reader: string;
  shape: Voxel;
  spacing: Voxel;
  voxel_ml: number;
  directions: number[][]; // LPS mm of one step along each array axis, as columns
  metric: number[][];
  planes: Plane[];
  labels: Label[];
  references: { name: string; color: [number, number, number] }[]; // other readers' masks
  windows: [string, number, number][];
  unit: string;
  dtype: string;
  slope: number;
  intercept: number;
  can_save: boolean;
  case: number;
  cases: string[]; // states, in the worklist's order; empty: there is no worklist
}

export interface Standing {
  edits: number;
  undo: boolean;
  redo: boolean;
  slices: number[];
  voxels: number[];
  clicks: [number, number, number, number][]; // of the proposal that is not accepted yet: place and value
  clicked: number; // the label that they speak of
  thinking: boolean;
}

const KINDS: Record<string, new (data: ArrayBuffer) => Pixels> = {
  int16: Int16Array,
  uint16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
};

/** The stored values of a slice; the buffer's bytes are copied, since a message's buffer may lie at any offset. */
export function pixelsOf(dtype: string, data: DataView): Pixels {
  const kind = KINDS[dtype];
  if (!kind) throw new Error(`values of type ${dtype} cannot be shown`);
  return new kind(bytesOf(data).buffer as ArrayBuffer);
}

export function bytesOf(data: DataView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
}

/** Rows and columns of a plane's slices as the kernel sends them: the array axes that stay, in order. */
export function free(plane: Plane): [number, number] {
  return plane.axis === 0 ? [1, 2] : plane.axis === 1 ? [0, 2] : [0, 1];
}
