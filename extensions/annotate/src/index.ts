// The widget: one session of drawing in a notebook's cell. Nothing is loaded from anywhere else.

import { Acts } from "./acts";
import { type Doing, press } from "./keys";
import { type Model } from "./line";
import { type Kept, Link } from "./link";
import { Pane } from "./pane";
import { helpOf, make, Panel } from "./panel";
import type { Scene, Voxel } from "./scene";
import { Slices } from "./slices";
import { Solid } from "./solid";
import { State } from "./state";

const SAID_MS = 12_000;

class Desk {
  readonly root = make("div", "ailab-page ailab-annotate");
  private readonly state: State;
  private readonly slices: Slices;
  private readonly link: Link;
  private readonly acts: Acts;
  private readonly panes: Pane[];
  private readonly solid: Solid;
  private readonly panel: Panel;
  private readonly help: HTMLElement;
  private readonly status = make("span", "ailab-status");
  private readonly said = make("div", "ailab-said");
  private quiet = 0;

  constructor(model: Model) {
    const scene = model.get("scene") as Scene;
    this.state = new State(scene);
    this.link = new Link(model, scene.session, {
      standing: (now) => this.stands(now),
      changed: (told) => {
        this.slices.changed(told.span, [], []);
        if (told.said) this.say(told.said, "bad");
        this.stands({ ...told });
      },
      solid: (told, buffers) => this.got(() => this.solid.receive(told, buffers[0]!)),
      slice: (axis, index, buffers) => this.got(() => this.slices.receive(axis, index, buffers)),
      kept: (one, buffers) => this.kept(one, buffers),
      saved: (told) => {
        scene.cases = told.cases;
        this.say(`saved ${told.at.slice(11, 16)} UTC and handed in: SEG ${told.sop_uid}`, "good");
        this.state.changed();
      },
      failed: (said) => this.say(said, "bad"),
      waiting: () => this.wait(),
    });
    this.slices = new Slices(scene, (list, labels) => this.link.want(list, labels));
    this.acts = new Acts(this.state, this.link, this.slices);
    this.panes = scene.planes.map((plane) => new Pane(plane, this.state, this.slices, this.acts));
    this.solid = new Solid(this.state, (what) => this.link.solid(what));
    const doing = this.doing();
    this.panel = new Panel(doing);
    this.help = helpOf(doing.help);
    this.build(scene, doing);
    this.state.listen(() => this.paint());
    this.state.changed();
    window.addEventListener("error", this.wrong);
    window.addEventListener("unhandledrejection", this.wrong);
    void this.link.start();
  }

  /** What goes wrong in our own handlers is told too, not only written to the browser's console. */
  private readonly wrong = (event: ErrorEvent | PromiseRejectionEvent) => {
    const error: unknown = event instanceof ErrorEvent ? event.error : event.reason;
    if (error instanceof Error && error.stack?.includes(import.meta.url))
      this.say(`the page failed: ${error.message}; what you drew is kept, reload the page`, "bad");
  };

  close(): void {
    this.link.close();
    this.panes.forEach((pane) => pane.close());
    this.solid.close();
    window.removeEventListener("error", this.wrong);
    window.removeEventListener("unhandledrejection", this.wrong);
  }

  private doing(): Doing {
    const { state, acts, link } = this;
    const active = () => this.panes[state.plane]!;
    const around = (pane: Pane, factor: number) => pane.view.zoomBy(factor, pane.view.size[0] / 2, pane.view.size[1] / 2);
    const after = (act: () => void) => () => (act(), state.changed());
    return {
      state,
      acts,
      dab: () => active().dab(),
      closePath: () => active().closePath(),
      dropPath: () => active().dropPath(),
      turnSolid: (key) => this.solid.step(key),
      fit: after(() => active().view.fit()),
      zoom: (factor) => after(() => around(active(), factor))(),
      three: after(() => (state.three = !state.three)),
      save: () => (this.say("saving…", "good"), link.save()),
      turn: (number) => (link.unkept ? this.say("wait until every stroke is kept", "bad") : link.turn(number)),
      help: () => (this.help.hidden = !this.help.hidden),
    };
  }

  private build(scene: Scene, doing: Doing): void {
    const { root } = this;
    root.tabIndex = 0;
    // JupyterLab's own keys (D D deletes the cell) must not hear what is typed here.
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    root.setAttribute("role", "application");
    root.setAttribute("aria-label", scene.title);
    const head = make("header");
    head.append(make("b", "", scene.title), make("span", "", scene.reader), this.status);
    this.said.setAttribute("role", "status");
    const middle = make("div", "ailab-middle");
    const panes = make("div", "ailab-panes");
    panes.append(...this.panes.map((pane) => pane.element), this.solid.element, this.said);
    middle.append(this.panel.left, panes, this.panel.right);
    root.append(head, middle, this.help);
    root.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (press(event, doing)) event.preventDefault();
    });
    Object.assign(root, { annotate: this.places() });
  }

  /** For tests and other panels: where a voxel is on the page, and back. */
  private places(): object {
    const pane = () => this.panes[this.state.plane]!;
    return {
      screenOf: (voxel: Voxel) => {
        const box = pane().canvas.getBoundingClientRect();
        const [x, y] = pane().view.screenOf(voxel);
        return [box.left + x, box.top + y];
      },
      voxelAt: (x: number, y: number) => {
        const box = pane().canvas.getBoundingClientRect();
        return pane().view.voxelAt(x - box.left, y - box.top, pane().index);
      },
      state: this.state,
      solid: this.solid,
      ready: () => this.link.unkept === 0 && this.state.shown.every(([axis, index]) => this.slices.get(axis, index)?.stale === false),
    };
  }

  private paint(): void {
    this.root.classList.toggle("ailab-three", this.state.three);
    this.slices.need(this.state.shown, this.state.direction);
    this.panes.forEach((pane, number) => {
      pane.element.hidden = !this.state.three && number !== this.state.plane;
      if (!pane.element.hidden) pane.paint();
    });
    this.solid.element.hidden = !this.state.three;
    if (this.state.three) this.solid.paint();
    this.panel.refresh();
  }

  private stands(now: Kept | State["standing"]): void {
    const { edits, undo, redo, slices, voxels, clicks, clicked, thinking } = now;
    if (edits !== this.state.standing.edits && !("span" in now)) this.slices.refresh();
    this.state.standing = { edits, undo, redo, slices, voxels, clicks, clicked, thinking };
    this.state.changed();
  }

  private kept(one: Kept, buffers: DataView[]): void {
    this.got(() => this.slices.changed(one.span, one.shown, buffers));
    if (one.client === this.link.client) this.state.drafts = this.state.drafts.filter((draft) => draft.number < 0 || draft.number > one.number);
    if (one.said) this.say(one.said, "bad");
    this.stands(one);
  }

  private got(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.say(`the picture could not be shown: ${String(error)}; reload the page`, "bad");
    }
    this.state.changed();
  }

  private wait(): void {
    const { unkept, durable } = this.link;
    this.status.textContent = unkept ? `${unkept} not yet kept` : "every stroke is kept";
    this.status.dataset.state = unkept ? "waiting" : "kept";
    this.status.title = durable
      ? "What the kernel has not acknowledged waits in this browser, also over a reload."
      : "This browser keeps nothing over a reload (private window?): wait for 'kept' before you leave.";
  }

  private say(text: string, kind: "good" | "bad"): void {
    this.said.textContent = text;
    this.said.dataset.kind = kind;
    window.clearTimeout(this.quiet);
    this.quiet = window.setTimeout(() => (this.said.textContent = ""), SAID_MS);
  }
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  let desk: Desk | null = null;
  const show = () => {
    desk?.close();
    desk = new Desk(model);
    el.replaceChildren(desk.root);
  };
  const turned = () => {
    show();
    desk?.root.focus({ preventScroll: true });
  };
  show();
  model.on("change:scene", turned);
  return () => {
    model.off("change:scene", turned);
    desk?.close();
  };
}

export default { render };
