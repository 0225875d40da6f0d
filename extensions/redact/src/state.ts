// What is shown and chosen; every change of boxes goes to the kernel at once.

import type { Link } from "./link";
import { areaOf, type Changes, type Detail, fitted, isIn, keyOf, type Listed, moved, type Place, type Scene } from "./scene";

const FREE = new Set(["open", "done", "returned"]);

export class State {
  objects: Listed[];
  detail: Detail | null = null;
  name = "";
  frame = 0;
  selected = ""; // key of a place
  masked = false; // boxes filled, as in the output
  faint = false; // what is nearly black is made bright
  releasing = false;
  seen = false; // whether a picture of the object was shown: nobody decides on what nobody saw
  private readonly listeners: (() => void)[] = [];

  constructor(
    readonly scene: Scene,
    private readonly link: () => Link,
    private readonly say: (text: string, kind: "good" | "bad") => void,
  ) {
    this.objects = scene.objects;
  }

  listen(listener: () => void): void {
    this.listeners.push(listener);
  }

  changed(): void {
    this.listeners.forEach((one) => one());
  }

  get one(): Listed | undefined {
    return this.objects.find((one) => one.name === this.name);
  }

  get places(): Place[] {
    return this.detail?.places ?? [];
  }

  /** Of this frame, the smallest last: it lies on top. */
  get here(): Place[] {
    return this.places.filter((one) => isIn(one, this.frame)).sort((a, b) => areaOf(b) - areaOf(a));
  }

  get chosen(): Place | undefined {
    return this.places.find((one) => keyOf(one) === this.selected);
  }

  get free(): boolean {
    return this.detail !== null && FREE.has(this.detail.state);
  }

  count(...states: string[]): number {
    return this.objects.filter((one) => states.includes(one.state)).length;
  }

  open(name: string): void {
    if (name === this.name && this.detail) return;
    [this.name, this.detail, this.selected, this.seen] = [name, null, "", false];
    this.frame = 0;
    this.link().open(name);
    this.changed();
  }

  step(by: number): void {
    const at = this.objects.findIndex((one) => one.name === this.name);
    const next = this.objects[Math.min(Math.max(at + by, 0), this.objects.length - 1)];
    if (next) this.open(next.name);
  }

  /** The next object that nobody decided on, from here on and then from the beginning. */
  nextOpen(): void {
    const at = this.objects.findIndex((one) => one.name === this.name);
    const rest = [...this.objects.slice(at + 1), ...this.objects.slice(0, at + 1)];
    const next = rest.find((one) => one.state === "open" || one.state === "returned");
    if (next) this.open(next.name);
    else if (this.objects.length) this.say("every object is decided: Release masks and releases them", "good");
    this.changed();
  }

  shows(detail: Detail): void {
    if (detail.name !== this.name) return;
    const before = this.detail;
    if (!before) this.frame = detail.met[0]?.[0] ?? detail.places[0]?.[0] ?? 0;
    this.detail = before ? { ...detail, places: before.places } : detail;
    this.took(detail);
  }

  /** What the kernel holds now; of an object with acts on their way, its boxes come with the last of them. */
  took(told: Changes): void {
    const listed = this.objects.find((one) => one.name === told.name);
    if (listed) listed.state = told.state;
    if (this.detail?.name === told.name) {
      const waits = this.link().unkept > 0;
      this.detail = { ...this.detail, ...told, places: waits ? this.places : told.places };
      if (!this.chosen) this.selected = "";
    }
    this.changed();
  }

  goTo(frame: number): void {
    this.frame = Math.min(Math.max(frame, 0), (this.one?.frames ?? 1) - 1);
    this.changed();
  }

  select(place: Place | undefined): void {
    this.selected = place ? keyOf(place) : "";
    if (place && !isIn(place, this.frame)) this.frame = place[0];
    this.changed();
  }

  /** The next or last box of the object, by frame and place. */
  turn(by: number): void {
    const at = this.places.findIndex((one) => keyOf(one) === this.selected);
    const count = this.places.length;
    if (count) this.select(this.places[at < 0 ? (by > 0 ? 0 : count - 1) : (at + by + count) % count]);
  }

  add(place: Place): void {
    this.put(undefined, place);
  }

  change(place: Place): void {
    if (this.chosen) this.put(this.chosen, place);
  }

  move(down: number, right: number): void {
    if (this.chosen && this.one) this.change(moved(this.chosen, down, right, this.one));
  }

  resize(down: number, right: number): void {
    const one = this.chosen;
    if (one) this.change([one[0], one[1], one[2], one[3], Math.max(one[4] + down, one[2] + 1), Math.max(one[5] + right, one[3] + 1)]);
  }

  remove(): void {
    if (this.chosen) this.put(this.chosen, undefined);
  }

  /** Every frame, or this one alone. */
  spread(): void {
    const [one, frames] = [this.chosen, this.one?.frames ?? 1];
    if (!one) return;
    const all = one[0] === 0 && one[1] === frames - 1;
    this.change([all ? this.frame : 0, all ? this.frame : frames - 1, one[2], one[3], one[4], one[5]]);
  }

  from(): void {
    const one = this.chosen;
    if (one) this.change([this.frame, Math.max(this.frame, one[1]), one[2], one[3], one[4], one[5]]);
  }

  until(): void {
    const one = this.chosen;
    if (one) this.change([Math.min(this.frame, one[0]), this.frame, one[2], one[3], one[4], one[5]]);
  }

  /** What was done a moment ago, and is on its way yet, is taken back too. */
  undo(): void {
    if (this.detail?.undo || this.link().unkept) this.link().act("undo", this.name);
  }

  redo(): void {
    if (this.detail?.redo || this.link().unkept) this.link().act("redo", this.name);
  }

  done(): void {
    if (this.detail && !this.seen) return this.say("wait until the picture is shown", "bad");
    if (!this.free || !this.detail || !this.one) return this.refuse();
    this.link().act("done", this.name, this.places);
    this.one.state = this.detail.state = "done"; // at once; the kernel's word follows
    this.nextOpen();
  }

  release(): void {
    if (this.link().unkept) return this.say("wait until every decision is kept", "bad");
    if (!this.count("done", "releasing")) return this.say("nothing is decided that was not released", "bad");
    this.releasing = true;
    this.say("masking, proving and releasing…", "good");
    this.link().release();
    this.changed();
  }

  private refuse(): void {
    const said = this.detail ? "this object was released, or could not be: it is not changed here" : "wait until the picture is shown";
    this.say(said, "bad");
  }

  private put(before: Place | undefined, after: Place | undefined): void {
    if (!this.free || !this.detail || !this.one) return this.refuse();
    const made = after && fitted(after, this.one);
    if (after && !made) return;
    const rest = this.places.filter((one) => one !== before && (!made || keyOf(one) !== keyOf(made)));
    const places = [...rest, ...(made ? [made] : [])].sort(byPlace);
    this.selected = made ? keyOf(made) : "";
    const state = this.detail.state === "done" ? "open" : this.detail.state;
    this.detail = { ...this.detail, places, state };
    this.one.state = state;
    this.link().act("boxes", this.name, places);
    this.changed();
  }
}

function byPlace(one: Place, other: Place): number {
  const at = one.findIndex((value, index) => value !== other[index]);
  return at < 0 ? 0 : one[at]! - other[at]!;
}
