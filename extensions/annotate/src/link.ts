// What the drawing page and the kernel say to each other.

import { Line, type Model, type Told } from "./line";
import type { Standing, Voxel } from "./scene";

export interface Kept extends Standing {
  client: string;
  number: number;
  span: [number, number][];
  said: string;
  again: number;
  shown: [number, number][];
}

export interface Hears extends Told {
  standing(now: Standing): void;
  changed(told: Standing & { span: [number, number][]; said?: string }): void;
  solid(told: { what: string; counts: Voxel; edits: number }, buffers: DataView[]): void;
  slice(axis: number, index: number, buffers: DataView[]): void;
  kept(one: Kept, buffers: DataView[]): void;
  saved(told: { sop_uid: string; at: string; cases: string[] }): void;
}

export class Link extends Line<Hears> {
  constructor(model: Model, session: string, hears: Hears) {
    super(model, session, hears, { what: "strokes", does: "draw" });
  }

  act(act: string, operation: object | null, points: Float32Array, shown: [number, number][]): number {
    return this.put({ kind: "do", act, operation, shown }, points.slice().buffer as ArrayBuffer);
  }

  want(list: [number, number][], labels: [number, number][]): void {
    if (list.length || labels.length) this.send({ kind: "slices", want: list, labels });
  }

  solid(what: "image" | "labels"): void {
    this.send({ kind: "solid", what });
  }

  save(): void {
    this.send({ kind: "save" });
  }

  turn(number: number): void {
    this.send({ kind: "case", number });
  }

  protected override hear(content: any, buffers: DataView[]): void {
    if (content.kind === "slice") this.hears.slice(content.axis, content.index, buffers);
    else if (content.kind === "solid") this.hears.solid(content, buffers);
    else if (content.kind === "changed") this.hears.changed(content);
    else if (content.kind === "kept") this.kept(content, buffers);
    else if (content.kind === "saved") this.hears.saved(content);
  }

  protected override stands(content: Standing): void {
    this.hears.standing(content);
  }

  private kept(one: Kept, buffers: DataView[]): void {
    if (one.again) void this.sendAgain(one.client, one.again);
    else this.forget(one.client, one.number + 1);
    this.hears.kept(one, buffers);
    this.hears.waiting();
  }
}
