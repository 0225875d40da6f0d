// The line to the kernel: every act has a number, waits in the outbox, and is sent again until it is acknowledged.

import { Outbox, type Waiting } from "../../annotate/src/outbox";
import type { Changes, Detail, Listed, Place } from "./scene";

export interface Model {
  get(name: string): unknown;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
  on(name: string, callback: (...given: any[]) => void): void;
  off(name: string, callback?: (...given: any[]) => void): void;
}

export interface Hears {
  listed(objects: Listed[]): void;
  detail(one: Detail): void;
  changed(one: Changes): void;
  frame(name: string, index: number, faint: boolean, png: DataView): void;
  released(counts: { waiting?: number; decided?: number }): void;
  failed(said: string): void;
  waiting(): void;
}

const AGAIN_MS = 2000;

export class Link {
  private readonly client = randomName();
  private readonly sent = new Map<number, number>(); // number → when, ms
  private readonly memory = new Map<number, Waiting>();
  private next = 1;
  private others = 0; // acts of an earlier page that are still on their way
  private outbox: Outbox | null = null;
  private readonly timer: number;
  private readonly heard = (content: any, buffers: DataView[]) => this.hear(content, buffers);

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
    this.memory.forEach((one) => outbox.put(one)); // done while it was being opened
    this.outbox = outbox;
    await this.hello();
  }

  close(): void {
    window.clearInterval(this.timer);
    this.model.off("msg:custom", this.heard);
  }

  /** How many acts the kernel has not acknowledged. */
  get unkept(): number {
    return this.sent.size + this.others;
  }

  get durable(): boolean {
    return this.outbox?.durable ?? true;
  }

  act(act: string, name: string, boxes?: Place[]): void {
    const number = this.next++;
    const message = { kind: "act", act, name, client: this.client, number, ...(boxes ? { boxes } : {}) };
    const one = { session: this.session, client: this.client, number, message, points: new ArrayBuffer(0) };
    this.outbox?.put(one);
    this.memory.set(number, one);
    this.post(one);
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

  private async hello(): Promise<void> {
    const clients = new Set([this.client, ...((await this.outbox?.all()) ?? []).map((one) => one.client)]);
    this.send({ kind: "hello", clients: [...clients] });
  }

  private hear(content: any, buffers: DataView[]): void {
    if (content.session !== this.session) return;
    const { kind } = content;
    if (kind === "frame") this.hears.frame(content.name, content.index, content.faint, buffers[0]!);
    else if (kind === "object") this.hears.detail(content.object);
    else if (kind === "failed") this.hears.failed(content.said);
    else if (kind === "welcome") void this.welcome(content);
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

  private async welcome(told: { expected: Record<string, number>; objects: Listed[] }): Promise<void> {
    Object.entries(told.expected).forEach(([client, next]) => this.forget(client, next));
    this.hears.listed(told.objects); // at once: what comes later is newer
    for (const [client, next] of Object.entries(told.expected)) await this.sendAgain(client, next);
    this.hears.waiting();
  }

  private forget(client: string, next: number): void {
    this.outbox?.drop(client, next);
    if (client !== this.client) this.others = Math.max(0, this.others - 1);
    else
      for (const number of [...this.memory.keys()].filter((one) => one < next)) {
        this.memory.delete(number);
        this.sent.delete(number);
      }
  }

  private async sendAgain(client: string, from: number): Promise<void> {
    const own = client === this.client;
    const all = own ? [...this.memory.values()] : ((await this.outbox?.all()) ?? []);
    const due = all.filter((one) => one.client === client && one.number >= from).sort((a, b) => a.number - b.number);
    if (!own) this.others = due.length;
    if (due.length && due[0]!.number > from)
      this.hears.failed("the journal lacks decisions that it had acknowledged (restored from a backup?): reload the page");
    else due.forEach((one) => this.post(one));
  }

  private remind(): void {
    if (!this.sent.size || performance.now() - Math.min(...this.sent.values()) < AGAIN_MS) return;
    this.sent.forEach((_, number) => this.sent.set(number, performance.now()));
    void this.hello();
  }

  private post(one: Waiting): void {
    if (one.client === this.client) this.sent.set(one.number, performance.now());
    this.send(one.message);
    this.hears.waiting();
  }

  private send(content: object): void {
    try {
      this.model.send({ ...content, session: this.session });
    } catch {
      this.hears.failed("the kernel does not answer; what you decide waits in this browser: run the cell again");
    }
  }
}

/** Also where the page is not served by https, which `crypto.randomUUID` asks for. */
function randomName(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((one) => one.toString(16).padStart(2, "0")).join("");
}
