// Above the slice: the crosshair, clicks, the brush's circle and the path of what the pointer is about to do.

import type { State } from "./state";
import type { View } from "./view";

/** Lines, circle and path of what the pointer is about to do. */
export function paintHints(
  canvas: HTMLCanvasElement, view: View, state: State, at: [number, number] | null, path: [number, number][],
): void {
  const context = canvas.getContext("2d")!;
  if (state.three) crossLines(context, view, state);
  clickMarks(context, view, state);
  context.strokeStyle = colourOf(state);
  context.lineWidth = 1.5;
  if (path.length) {
    context.setLineDash([5, 3]);
    context.beginPath();
    path.forEach(([x, y]) => context.lineTo(x, y));
    if (at) context.lineTo(...at);
    context.stroke();
    context.setLineDash([]);
  }
  if (at && (state.tool === "brush" || state.tool === "eraser")) {
    context.beginPath();
    context.arc(at[0], at[1], Math.max(1.5, state.radius * view.scale), 0, 2 * Math.PI);
    context.stroke();
  }
}

/** What the helper was told in this slice: a plus where the label is, a minus where it is not. */
function clickMarks(context: CanvasRenderingContext2D, view: View, state: State): void {
  const { axis } = view.plane;
  for (const click of state.standing.clicks) {
    if (Math.round(click[axis]!) !== state.cursor[axis]) continue;
    const [x, y] = view.screenOf([click[0], click[1], click[2]]);
    context.beginPath();
    context.arc(x, y, 5, 0, 2 * Math.PI);
    context.fillStyle = click[3] ? "#2e9e4f" : "#c62828";
    context.strokeStyle = "#fff";
    context.lineWidth = 1.25;
    context.fill();
    context.stroke();
    context.beginPath();
    context.moveTo(x - 3, y);
    context.lineTo(x + 3, y);
    if (click[3]) {
      context.moveTo(x, y - 3);
      context.lineTo(x, y + 3);
    }
    context.stroke();
  }
}

function crossLines(context: CanvasRenderingContext2D, view: View, state: State): void {
  const [x, y] = view.screenOf(state.cursor);
  context.strokeStyle = "rgba(120, 200, 255, 0.75)";
  context.lineWidth = 1;
  context.beginPath();
  for (const [x0, y0, x1, y1] of [[0, y, x - 8, y], [x + 8, y, view.size[0], y], [x, 0, x, y - 8], [x, y + 8, x, view.size[1]]]) {
    context.moveTo(x0!, y0!);
    context.lineTo(x1!, y1!);
  }
  context.stroke();
}

function colourOf(state: State): string {
  const label = state.scene.labels.find((one) => one.value === state.label);
  return state.tool === "eraser" || !label ? "#fff" : `rgb(${label.color.join(", ")})`;
}
