// A line to a kernel that loses nothing: every act has a number, waits in the outbox, and is sent again until it is
// acknowledged, also by a later page. What the acts are is its pages' own.

import { Outbox, type Waiting } from "./outbox";

export interface Model {
  get(name: string): unknown;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
  on(name: string, callback: (...given: any[]) => void): void;
  off(name: string, callback?: (...given: any[]) => void): void;
}

export interface Told {
  failed(said: string): void;
  waiting(): void;
}

const AGAIN_MS = 2000;

export abstract class Line<Hears extends Told> {
  readonly client = randomName();
  private readonly memory = new Map<number, Waiting>();
  private readonly pending = new Map<string, [string, number, number]>(); // client, number, when it was sent (ms)
  private next = 1;
  private outbox: Outbox | null = null;
  private readonly timer: number;
  private readonly heard = (content: any, buffers: DataView[]) => {
    if (content.session !== this.session) return; // about something else
    try {
      if (content.kind === "welcome") void this.welcome(content);
      else if (content.kind === "failed") this.hears.failed(content.said);
      else this.hear(content, buffers);
    } catch (error) {
      this.hears.failed(`the kernel's answer could not be read: ${String(error)}; reload the page`);
    }
  };

  /** `what` the acts are called, and what a person `does`: "strokes", "draw". */
  constructor(
    private readonly model: Model,
    private readonly session: string,
    protected readonly hears: Hears,
    private readonly words: { what: string; does: string },
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

  /** How many acts the kernel has not acknowledged, those of earlier pages among them. */
  get unkept(): number {
    return this.pending.size;
  }

  get durable(): boolean {
    return this.outbox?.durable ?? true;
  }

  /** Everything but greetings and failures. */
  protected abstract hear(content: any, buffers: DataView[]): void;

  /** How things stand, told with a greeting; acts that are still on their way come after it. */
  protected abstract stands(content: any): void;

  /** Send an act and return its number. */
  protected put(message: object, points = new ArrayBuffer(0)): number {
    const number = this.next++;
    const one = { session: this.session, client: this.client, number, message: { ...message, client: this.client, number }, points };
    this.outbox?.put(one);
    this.memory.set(number, one);
    this.post(one);
    return number;
  }

  /** A client's acts below `next` are kept. */
  protected forget(client: string, next: number): void {
    this.outbox?.drop(client, next);
    this.pending.forEach(([whose, number], key) => whose === client && number < next && this.pending.delete(key));
    if (client === this.client) this.memory.forEach((_, number) => number < next && this.memory.delete(number));
  }

  protected async sendAgain(client: string, from: number): Promise<void> {
    const all = client === this.client ? [...this.memory.values()] : ((await this.outbox?.all()) ?? []);
    const due = all.filter((one) => one.client === client && one.number >= from).sort((one, two) => one.number - two.number);
    if (due.length && due[0]!.number > from)
      this.hears.failed(`the journal lacks ${this.words.what} that it had acknowledged (restored from a backup?): reload the page`);
    else due.forEach((one) => this.post(one));
  }

  protected send(content: object, buffers: ArrayBuffer[] = []): void {
    try {
      this.model.send({ ...content, session: this.session }, undefined, buffers);
    } catch {
      this.hears.failed(`the kernel does not answer; what you ${this.words.does} waits in this browser: run the cell again`);
    }
  }

  private async hello(): Promise<void> {
    const clients = new Set([this.client, ...((await this.outbox?.all()) ?? []).map((one) => one.client)]);
    this.send({ kind: "hello", clients: [...clients] });
  }

  private async welcome(told: { expected: Record<string, number> }): Promise<void> {
    const expected = Object.entries(told.expected);
    expected.forEach(([client, next]) => this.forget(client, next));
    this.stands(told); // at once: what comes later is newer
    for (const [client, next] of expected) await this.sendAgain(client, next);
    this.hears.waiting();
  }

  /** Ask again for what has waited too long, whichever page's it is: its first sending may have met a broken line. */
  private remind(): void {
    const now = performance.now();
    if (![...this.pending.values()].some(([, , at]) => now - at > AGAIN_MS)) return;
    this.pending.forEach((one) => (one[2] = now));
    void this.hello();
  }

  private post(one: Waiting): void {
    this.pending.set(`${one.client} ${one.number}`, [one.client, one.number, performance.now()]);
    this.send(one.message, one.points.byteLength ? [one.points] : []);
    this.hears.waiting();
  }
}

/** Also where the page is not served by https, which `crypto.randomUUID` asks for. */
function randomName(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((one) => one.toString(16).padStart(2, "0")).join("");
}
