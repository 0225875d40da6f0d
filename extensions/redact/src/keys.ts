// Keys, and the help, which is the same table: neither can fall behind.

import type { Board } from "./board";
import type { State } from "./state";

export interface Doing {
  state: State;
  board: Board;
  help(): void;
}

interface Key {
  keys: string[]; // as KeyboardEvent.key, lower case, after "ctrl+", "alt+" and "shift+"
  shown: string;
  does: string;
  act(doing: Doing, key: string): void;
}

const STEPS: Record<string, [number, number]> = { arrowup: [-1, 0], arrowdown: [1, 0], arrowleft: [0, -1], arrowright: [0, 1] };
const ARROWS = Object.keys(STEPS);

function stepOf(key: string, doing: Doing): [number, number] {
  const far = (key.includes("shift+") ? 10 : 1) * (doing.state.one?.even ? 2 : 1);
  const [down, right] = STEPS[key.split("+").at(-1)!]!;
  return [down * far, right * far];
}

/** Arrows move the chosen box; without one they go through frames and objects. */
function arrow(doing: Doing, key: string): void {
  const { state } = doing;
  const [down, right] = stepOf(key, doing);
  if (state.chosen) state.move(down, right);
  else if (right) state.goTo(state.frame + right);
  else state.step(Math.sign(down));
}

const flag = (key: string, name: "masked" | "faint", does: string): Key => ({
  keys: [key],
  shown: key.toUpperCase(),
  does,
  act: ({ state }) => {
    state[name] = !state[name];
    state.changed();
  },
});

export const KEYS: Key[] = [
  { keys: ["enter"], shown: "Enter", does: "done: these boxes and no others; on to the next object", act: ({ state }) => state.done() },
  { keys: ["a"], shown: "A", does: "add a box (or drag with the mouse)", act: ({ board }) => board.add() },
  { keys: ["delete", "backspace", "x"], shown: "X, Del", does: "remove the chosen box: these pixels stay", act: ({ state }) => state.remove() },
  { keys: [".", ","], shown: ". ,", does: "choose the next, the last box (or click it)", act: ({ state }, key) => state.turn(key === "." ? 1 : -1) },
  { keys: ["escape"], shown: "Esc", does: "choose no box", act: ({ state }) => state.select(undefined) },
  { keys: [...ARROWS, ...ARROWS.map((one) => `shift+${one}`)], shown: "Arrows", does: "move the box by a pixel, with Shift by ten; without a box: frames and objects", act: arrow },
  {
    keys: [...ARROWS.map((one) => `alt+${one}`), ...ARROWS.map((one) => `alt+shift+${one}`)],
    shown: "Alt+arrows",
    does: "make the box larger or smaller (or drag its edges)",
    act: (doing, key) => doing.state.resize(...stepOf(key, doing)),
  },
  { keys: ["["], shown: "[", does: "the box begins at this frame", act: ({ state }) => state.from() },
  { keys: ["]"], shown: "]", does: "the box ends at this frame", act: ({ state }) => state.until() },
  { keys: ["f"], shown: "F", does: "the box is in every frame, or in this one alone", act: ({ state }) => state.spread() },
  { keys: ["pageup", "pagedown"], shown: "PgUp PgDn", does: "frame before, frame after (also the wheel)", act: ({ state }, key) => state.goTo(state.frame + (key === "pageup" ? -1 : 1)) },
  { keys: ["home", "end"], shown: "Home End", does: "first, last frame", act: ({ state }, key) => state.goTo(key === "home" ? 0 : 1e9) },
  { keys: ["j", "k"], shown: "J K", does: "next object, object before", act: ({ state }, key) => state.step(key === "j" ? 1 : -1) },
  { keys: ["n"], shown: "N", does: "next object that is not decided", act: ({ state }) => state.nextOpen() },
  { keys: ["z", "ctrl+z"], shown: "Z", does: "undo, “done” too", act: ({ state }) => state.undo() },
  { keys: ["y", "ctrl+y", "ctrl+shift+z"], shown: "Y", does: "redo", act: ({ state }) => state.redo() },
  flag("m", "masked", "see it as it will be: boxes black"),
  flag("b", "faint", "brighter: see what is nearly black"),
  { keys: ["+", "=", "-"], shown: "+ −", does: "zoom (also Ctrl and wheel; Shift and drag moves the picture)", act: ({ board }, key) => board.zoom(key === "-" ? 0.8 : 1.25) },
  { keys: ["0"], shown: "0", does: "whole picture", act: ({ board }) => board.fit() },
  { keys: ["ctrl+enter"], shown: "Ctrl+Enter", does: "release every object that is decided", act: ({ state }) => state.release() },
  { keys: ["?"], shown: "?", does: "this help", act: ({ help }) => help() },
];

/** Do what a key means; true when it meant something. */
export function press(event: KeyboardEvent, doing: Doing): boolean {
  const target = event.target as HTMLElement;
  const name = event.key.toLowerCase();
  if (target.matches("input[type=range]") && name.startsWith("arrow")) return false;
  if (target.matches("button") && (name === " " || name === "enter") && !event.ctrlKey) return false;
  const letter = name.length === 1 && name.toUpperCase() === name;
  const key = `${event.ctrlKey || event.metaKey ? "ctrl+" : ""}${event.altKey ? "alt+" : ""}${event.shiftKey && !letter ? "shift+" : ""}${name}`;
  const found = KEYS.find((one) => one.keys.includes(key));
  found?.act(doing, key);
  return found !== undefined;
}
