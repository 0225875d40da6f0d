// The page: what the engine masked or doubts, one object after the other, until a person decided on each.

import { Board } from "./board";
import { type Doing, press } from "./keys";
import { type Model } from "../../annotate/src/line";
import { Link } from "./link";
import { helpOf, make, Panel, titleOf } from "./panel";
import { Pictures } from "./pictures";
import type { Scene } from "./scene";
import { State } from "./state";
import { Strip } from "./strip";

const SAID_MS = 12_000;

class Page {
  readonly root = make("div", "ailab-page ailab-redact");
  private readonly state: State;
  private readonly link: Link;
  private readonly pictures: Pictures;
  private readonly board: Board;
  private readonly strip: Strip;
  private readonly panel: Panel;
  private readonly help: HTMLElement;
  private readonly title = make("b");
  private readonly progress = make("span");
  private readonly status = make("span", "ailab-status");
  private readonly said = make("div", "ailab-said");
  private quiet = 0;

  constructor(scene: Scene, model: Model) {
    this.state = new State(scene, () => this.link, (text, kind) => this.say(text, kind));
    this.link = new Link(model, scene.session, {
      listed: (objects) => this.lists(objects),
      detail: (one) => this.state.shows(one),
      changed: (one) => this.state.took(one),
      frame: (name, index, faint, png) =>
        void this.pictures.receive(name, index, faint, png).catch((error) => this.say(`the picture cannot be shown: ${String(error)}`, "bad")),
      released: (counts) => {
        this.state.releasing = false;
        const back = this.state.count("returned");
        const told = back ? `; ${back} came back: an identifier was still read in what you left` : "";
        this.say(`${counts.decided ?? 0} objects are released as decided, ${counts.waiting ?? 0} wait${told}`, back ? "bad" : "good");
      },
      failed: (said) => {
        this.state.releasing = false;
        this.say(said, "bad");
        this.state.changed();
      },
      waiting: () => this.wait(),
    });
    this.pictures = new Pictures((name, index, faint) => this.link.frame(name, index, faint), () => this.paint());
    this.board = new Board(this.state, this.pictures);
    this.strip = new Strip(this.state);
    const doing: Doing = { state: this.state, board: this.board, help: () => (this.help.hidden = !this.help.hidden) };
    this.panel = new Panel(doing);
    this.help = helpOf(doing.help);
    this.build(doing, scene);
    this.state.listen(() => this.paint());
    this.state.nextOpen();
    if (!this.state.name && scene.objects[0]) this.state.open(scene.objects[0].name);
    this.wait();
    void this.link.start();
  }

  close(): void {
    this.link.close();
    this.board.close();
  }

  /** How every object stands, from the kernel: after a run, or when a page comes back. */
  lists(objects: Scene["objects"]): void {
    if (!this.link.unkept) this.state.objects = objects;
    if (this.state.name) this.link.open(this.state.name);
    this.state.changed();
  }

  private build(doing: Doing, scene: Scene): void {
    const { root } = this;
    root.tabIndex = 0;
    // JupyterLab's own keys (D D deletes the cell) must not hear what is typed here.
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    root.setAttribute("role", "application");
    root.setAttribute("aria-label", "burned-in text to review");
    const head = make("header");
    head.append(this.title, this.progress, make("span", "ailab-warn", "shows patients"), make("span", "", scene.who), this.status);
    this.said.setAttribute("role", "status");
    const centre = make("div", "ailab-centre");
    centre.append(this.board.element, this.strip.element, this.said);
    const middle = make("div", "ailab-middle");
    middle.append(this.panel.left, centre, this.panel.right);
    root.append(head, middle, this.help);
    root.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (press(event, doing)) event.preventDefault();
    });
    Object.assign(root, { redact: this.places() });
  }

  /** For tests and other panels: where a pixel's upper left corner is on the page. */
  private places(): object {
    return {
      screenOf: (column: number, row: number) => {
        const box = this.board.canvas.getBoundingClientRect();
        const [x, y] = this.board.screenOf([column, row]);
        return [box.left + x, box.top + y];
      },
      state: this.state,
      ready: () => {
        const { name, frame, faint, detail } = this.state;
        return this.link.unkept === 0 && detail !== null && this.pictures.get(name, frame, faint) !== undefined;
      },
    };
  }

  private paint(): void {
    const { state } = this;
    const one = state.one;
    this.title.textContent = one ? titleOf(one) : "Nothing waits for a person";
    const decided = state.count("done", "releasing", "released");
    this.progress.textContent = `${decided} of ${state.objects.length} decided, ${state.count("released")} released`;
    this.board.paint();
    this.strip.paint();
    this.panel.refresh();
  }

  private wait(): void {
    const { unkept, durable } = this.link;
    this.status.textContent = unkept ? `${unkept} not yet kept` : "every decision is kept";
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
  const page = new Page(model.get("scene") as Scene, model);
  const changed = () => page.lists((model.get("scene") as Scene).objects);
  el.replaceChildren(page.root);
  model.on("change:scene", changed);
  return () => {
    model.off("change:scene", changed);
    page.close();
  };
}

export default { render };
