// Everything has a key; the table is the help, so that neither can fall behind.

import type { Acts } from "./acts";
import type { State, Tool } from "./state";

export interface Doing {
  state: State;
  acts: Acts;
  dab(): void;
  closePath(): void;
  dropPath(): void;
  turnSolid(key: string): void;
  fit(): void;
  zoom(factor: number): void;
  three(): void;
  save(): void;
  turn(number: number): void;
  help(): void;
}

interface Key {
  keys: string[]; // as KeyboardEvent.key, lower case, after "ctrl+" and "shift+"
  shown: string;
  does: string;
  act(doing: Doing, key: string): void;
}

const tool = (key: string, name: Tool, does: string): Key => ({
  keys: [key],
  shown: key.toUpperCase(),
  does,
  act: ({ state }) => state.choose(name),
});

const flag = (key: string, name: "ball" | "within" | "overlay", does: string): Key => ({
  keys: [key],
  shown: key.toUpperCase(),
  does,
  act: ({ state }) => {
    state[name] = !state[name];
    state.changed();
  },
});

const plane = (key: string, name: string): Key => ({
  keys: [key],
  shown: key.toUpperCase(),
  does: `${name} plane`,
  act: ({ state }) => {
    state.plane = state.scene.planes.findIndex((one) => one.name === name);
    state.changed();
  },
});

function step({ state }: Doing, key: string): void {
  const side = key.endsWith("left") || key.endsWith("right") ? state.active.right : state.active.down;
  const forward = key.endsWith("right") || key.endsWith("down");
  state.moveTo(side.axis, state.cursor[side.axis]! + (forward !== side.falls ? 1 : -1));
}

export const KEYS: Key[] = [
  tool("b", "brush", "brush"),
  tool("e", "eraser", "eraser: takes away every label that is not locked"),
  tool("p", "polygon", "polygon: click corners, or hold the button for a lasso; Enter or double click closes it"),
  tool("f", "fill", "fill a closed outline"),
  tool("l", "grow", "grow: what is connected and within the two limits (unticked: within the window); D: in 3-D"),
  tool("q", "click", "click: the helper adds what you click; with Alt or the right button it takes away"),
  tool("r", "scribble", "scribble: the same along a line"),
  tool("h", "pan", "move the picture (also middle button, or Shift and drag)"),
  tool("w", "window", "window: drag sideways for width, up and down for centre (also right button)"),
  { keys: ["[", "]"], shown: "[ ]", does: "smaller, larger brush", act: ({ state }, key) => state.setRadius(state.radius * (key === "[" ? 0.8 : 1.25)) },
  flag("d", "ball", "brush in 3-D (a ball) or in the slice (a disc)"),
  flag("t", "within", "paint only values between the two limits"),
  { keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"], shown: "1 to 9", does: "choose the label", act: ({ state }, key) => {
    state.label = state.scene.labels[Number(key) - 1]?.value ?? state.label;
    state.changed();
  } },
  { keys: ["g"], shown: "G", does: "lock the label: nothing changes it", act: ({ state }) => state.toggle(state.locked, state.label) },
  { keys: ["v"], shown: "V", does: "hide the label", act: ({ state }) => state.toggle(state.hidden, state.label) },
  flag("o", "overlay", "show the image alone"),
  { keys: ["i"], shown: "I", does: "interpolate the label between the drawn slices of this plane", act: ({ acts }) => acts.whole("interpolate") },
  { keys: ["k"], shown: "K", does: "keep the label's largest piece only", act: ({ acts }) => acts.whole("islands") },
  { keys: ["m"], shown: "M", does: "smooth the label", act: ({ acts }) => acts.whole("smooth") },
  { keys: ["z", "ctrl+z"], shown: "Z", does: "undo", act: ({ acts }) => acts.undo() },
  { keys: ["y", "ctrl+y", "ctrl+shift+z"], shown: "Y", does: "redo", act: ({ acts }) => acts.redo() },
  { keys: ["arrowup", "pageup"], shown: "↑", does: "next slice towards head, front or left (also the wheel)", act: ({ state }) => state.scroll(state.active, 1) },
  { keys: ["arrowdown", "pagedown"], shown: "↓", does: "next slice towards feet, back or right", act: ({ state }) => state.scroll(state.active, -1) },
  { keys: ["home", "end"], shown: "Home End", does: "last slice towards head, front or left; the other end", act: ({ state }, key) => state.scroll(state.active, key === "home" ? 1e6 : -1e6) },
  { keys: ["shift+arrowup", "shift+arrowdown", "shift+arrowleft", "shift+arrowright", "arrowleft", "arrowright"], shown: "Shift+arrows", does: "move the cursor in the slice (Alt and click sets it)", act: step },
  { keys: [" "], shown: "Space", does: "draw at the cursor, without a mouse", act: ({ dab }) => dab() },
  { keys: ["enter"], shown: "Enter", does: "close the polygon; with click or scribble: accept the proposal (Z rejects it)", act: ({ state, acts, closePath }) => (state.asking ? acts.accept() : closePath()) },
  { keys: ["escape"], shown: "Esc", does: "drop the polygon", act: ({ dropPath }) => dropPath() },
  plane("a", "axial"),
  plane("c", "coronal"),
  plane("s", "sagittal"),
  { keys: ["x"], shown: "X", does: "three planes with a crosshair and a view in 3-D, or one", act: ({ three }) => three() },
  { keys: ["ctrl+arrowleft", "ctrl+arrowright", "ctrl+arrowup", "ctrl+arrowdown"], shown: "Ctrl+arrows", does: "turn the view in 3-D", act: ({ turnSolid }, key) => turnSolid(key) },
  { keys: ["+", "=", "-"], shown: "+ −", does: "zoom (also Ctrl and wheel)", act: ({ zoom }, key) => zoom(key === "-" ? 0.8 : 1.25) },
  { keys: ["0"], shown: "0", does: "whole picture", act: ({ fit }) => fit() },
  { keys: ["n"], shown: "N", does: "next window preset", act: ({ state }) => state.nextWindow() },
  { keys: [",", "."], shown: ", .", does: "labels fainter, stronger", act: ({ state }, key) => {
    state.opacity = Math.min(1, Math.max(0.1, state.opacity + (key === "," ? -0.1 : 0.1)));
    state.changed();
  } },
  { keys: ["ctrl+s"], shown: "Ctrl+S", does: "save to the archive and hand in", act: ({ save }) => save() },
  { keys: ["?"], shown: "?", does: "this help", act: ({ help }) => help() },
];

/** Do what a key means; true when it meant something. */
export function press(event: KeyboardEvent, doing: Doing): boolean {
  const target = event.target as HTMLElement;
  const name = event.key.toLowerCase();
  // Fields keep their own keys, and a button that has the focus is pressed by Space and Enter.
  if (target.matches("input[type=number], input[type=range], select")) return false;
  if (target.matches("button, input") && (name === " " || name === "enter")) return false;
  const letter = name.length === 1 && name.toUpperCase() === name;
  const key = `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.shiftKey && !letter ? "shift+" : ""}${name}`;
  const found = KEYS.find((one) => one.keys.includes(key));
  found?.act(doing, key);
  return found !== undefined;
}
