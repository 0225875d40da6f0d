// Strokes that the kernel has not acknowledged wait here, in the browser's own database: a reload loses none.

export interface Waiting {
  session: string;
  client: string;
  number: number;
  message: Record<string, unknown>;
  points: ArrayBuffer;
}

const NAME = "ailab-annotate";
const STORE = "outbox";

export class Outbox {
  private constructor(
    private readonly db: IDBDatabase | null,
    private readonly session: string,
  ) {}

  /** Whether strokes outlive a reload: not where the browser keeps no database (private windows). */
  get durable(): boolean {
    return this.db !== null;
  }

  static async open(session: string): Promise<Outbox> {
    return new Outbox(await openDatabase(), session);
  }

  put(one: Waiting): void {
    if (!this.db) return;
    const act = this.db.transaction(STORE, "readwrite");
    act.objectStore(STORE).put(one);
    act.commit(); // also when the page is left in the next moment
  }

  /** Forget what the kernel has: a client's numbers below `next`. */
  drop(client: string, next: number): void {
    if (!this.db) return;
    const range = IDBKeyRange.bound([this.session, client, 0], [this.session, client, next], false, true);
    this.db.transaction(STORE, "readwrite").objectStore(STORE).delete(range);
  }

  /** Everything that waits in this session, by client and number. */
  async all(): Promise<Waiting[]> {
    if (!this.db) return [];
    const range = IDBKeyRange.bound([this.session], [this.session, []]);
    const request = this.db.transaction(STORE).objectStore(STORE).getAll(range);
    return new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result as Waiting[]);
      request.onerror = () => reject(request.error);
    });
  }
}

function openDatabase(): Promise<IDBDatabase | null> {
  return new Promise((resolve) => {
    if (typeof indexedDB === "undefined") return resolve(null);
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () =>
      request.result.createObjectStore(STORE, { keyPath: ["session", "client", "number"] });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
    request.onblocked = () => resolve(null);
  });
}
