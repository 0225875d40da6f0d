// What the review's page and the kernel say to each other.

import { Line, type Model, type Told } from "../../annotate/src/line";
import type { Changes, Detail, Listed, Place } from "./scene";

export interface Hears extends Told {
  listed(objects: Listed[]): void;
  detail(one: Detail): void;
  changed(one: Changes): void;
  frame(name: string, index: number, faint: boolean, png: DataView): void;
  released(counts: { waiting?: number; decided?: number }): void;
}

export class Link extends Line<Hears> {
  constructor(model: Model, session: string, hears: Hears) {
    super(model, session, hears, { what: "decisions", does: "decide" });
  }

  act(act: string, name: string, boxes?: Place[]): void {
    this.put({ kind: "act", act, name, ...(boxes ? { boxes } : {}) });
  }

  open(name: string): void {
    this.send({ kind: "object", name });
  }

  frame(name: string, index: number, faint: boolean): void {
    this.send({ kind: "frame", name, index, faint });
  }

  release(): void {
    this.send({ kind: "release" });
  }

  protected override hear(content: any, buffers: DataView[]): void {
    const { kind } = content;
    if (kind === "frame") this.hears.frame(content.name, content.index, content.faint, buffers[0]!);
    else if (kind === "object") this.hears.detail(content.object);
    else if (kind === "released") {
      this.hears.listed(content.objects);
      this.hears.released(content.counts);
    } else if (kind === "kept") {
      this.forget(content.client, content.next);
      if (content.said) this.hears.failed(content.said);
      if (content.object) this.hears.changed(content.object);
      this.hears.waiting();
    }
  }

  protected override stands(content: { objects: Listed[] }): void {
    this.hears.listed(content.objects);
  }
}
