// The line to the kernel: every act has a number, waits in the outbox, and is sent again until it is acknowledged.

import { Outbox, type Waiting } from "./outbox";
import type { Standing, Voxel } from "./scene";

export interface Model {
  get(name: string): unknown;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
  on(name: string, callback: (...given: any[]) => void): void;
  off(name: string, callback?: (...given: any[]) => void): void;
}

export interface Kept extends Standing {
  client: string;
  number: number;
  span: [number, number][];
  said: string;
  again: number;
  shown: [number, number][];
}

export interface Hears {
  standing(now: Standing): void;
  changed(told: Standing & { span: [number, number][]; said?: string }): void;
  solid(told: { what: string; counts: Voxel; edits: number }, buffers: DataView[]): void;
  slice(axis: number, index: number, buffers: DataView[]): void;
  kept(one: Kept, buffers: DataView[]): void;
  saved(told: { sop_uid: string; at: string; cases: string[] }): void;
  failed(said: string): void;
  waiting(): void;
}

const AGAIN_MS = 2000;

export class Link {
  readonly client = randomName();
  readonly pending = new Map<number, number>(); // number → when it was sent, ms
  private next = 1;
  private others = 0; // strokes of an earlier page that are still on their way
  private outbox: Outbox | null = null;
  private readonly memory = new Map<number, Waiting>();
  private readonly heard = (content: any, buffers: DataView[]) => {
    try {
      this.hear(content, buffers);
    } catch (error) {
      this.hears.failed(`the kernel's answer could not be read: ${String(error)}; reload the page`);
    }
  };
  private readonly timer: number;

  constructor(
    private readonly model: Model,
    private readonly session: string,
    private readonly hears: Hears,
  ) {
    model.on("msg:custom", this.heard);
    this.timer = window.setInterval(() => this.remind(), AGAIN_MS / 2);
  }

  async start(): Promise<void> {
    const outbox = await Outbox.open(this.session);
    this.memory.forEach((one) => outbox.put(one)); // drawn while it was being opened
    this.outbox = outbox;
    await this.hello();
  }

  close(): void {
    window.clearInterval(this.timer);
    this.model.off("msg:custom", this.heard);
  }

  /** How many acts the kernel has not acknowledged. */
  get unkept(): number {
    return this.pending.size + this.others;
  }

  get durable(): boolean {
    return this.outbox?.durable ?? true;
  }

  act(act: string, operation: object | null, points: Float32Array, shown: [number, number][]): number {
    const number = this.next++;
    const message = { kind: "do", act, client: this.client, number, operation, shown };
    const one = { session: this.session, client: this.client, number, message, points: points.slice().buffer as ArrayBuffer };
    this.outbox?.put(one);
    this.memory.set(number, one);
    this.post(one);
    return number;
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

  private async hello(): Promise<void> {
    const clients = new Set([this.client, ...((await this.outbox?.all()) ?? []).map((one) => one.client)]);
    this.send({ kind: "hello", clients: [...clients] });
  }

  private hear(content: any, buffers: DataView[]): void {
    if (content.session !== this.session) return; // about another case
    if (content.kind === "slice") this.hears.slice(content.axis, content.index, buffers);
    else if (content.kind === "solid") this.hears.solid(content, buffers);
    else if (content.kind === "changed") this.hears.changed(content);
    else if (content.kind === "kept") this.kept(content, buffers);
    else if (content.kind === "welcome") void this.welcome(content);
    else if (content.kind === "saved") this.hears.saved(content);
    else if (content.kind === "failed") this.hears.failed(content.said);
  }

  private kept(one: Kept, buffers: DataView[]): void {
    if (one.again) void this.sendAgain(one.client, one.again);
    else this.forget(one.client, one.number + 1);
    this.hears.kept(one, buffers);
    this.hears.waiting();
  }

  private async welcome(told: Standing & { expected: Record<string, number> }): Promise<void> {
    for (const [client, next] of Object.entries(told.expected)) {
      this.forget(client, next);
      await this.sendAgain(client, next);
    }
    this.hears.standing(told);
    this.hears.waiting();
  }

  private forget(client: string, next: number): void {
    this.outbox?.drop(client, next);
    if (client !== this.client) {
      this.others = Math.max(0, this.others - 1);
      return;
    }
    for (const number of [...this.memory.keys()]) {
      if (number < next) {
        this.memory.delete(number);
        this.pending.delete(number);
      }
    }
  }

  private async sendAgain(client: string, from: number): Promise<void> {
    const own = client === this.client;
    const all = own ? [...this.memory.values()] : ((await this.outbox?.all()) ?? []);
    const due = all.filter((one) => one.client === client && one.number >= from);
    if (!own) this.others = due.length;
    due.sort((one, two) => one.number - two.number);
    if (due.length && due[0]!.number > from)
      this.hears.failed("the journal lacks strokes that it had acknowledged (restored from a backup?): reload the page");
    else due.forEach((one) => this.post(one));
  }

  private remind(): void {
    const oldest = Math.min(...this.pending.values());
    if (this.pending.size && performance.now() - oldest > AGAIN_MS) {
      this.pending.forEach((_, number) => this.pending.set(number, performance.now()));
      void this.hello();
    }
  }

  private post(one: Waiting): void {
    if (one.client === this.client) this.pending.set(one.number, performance.now());
    this.send(one.message, [one.points]);
    this.hears.waiting();
  }

  private send(content: object, buffers: ArrayBuffer[] = []): void {
    try {
      this.model.send({ ...content, session: this.session }, undefined, buffers);
    } catch {
      this.hears.failed("the kernel does not answer; what you draw waits in this browser: run the cell again");
    }
  }
}

/** Also where the page is not served by https, which `crypto.randomUUID` asks for. */
function randomName(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((one) => one.toString(16).padStart(2, "0")).join("");
}
