// How boxes look.

export type Rectangle = [left: number, top: number, width: number, height: number];

export const COLOURS = { goes: "#ff4d5e", mine: "#3fb6ff", stays: "#46c777", met: "#ffb020" };
const TINT = "2b"; // of 255: what is below is still read
const GRIP = 7; // pixels

export function outline(
  context: CanvasRenderingContext2D, where: Rectangle, colour: string, { dash = [] as number[], width = 2 } = {},
): void {
  context.setLineDash(dash);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.strokeRect(...where);
  context.setLineDash([]);
}

/** A box that is not chosen; black where it is shown as masked. */
export function tinted(context: CanvasRenderingContext2D, where: Rectangle, colour: string, masked: boolean): void {
  context.fillStyle = masked ? "#000" : `${colour}${TINT}`;
  context.fillRect(...where);
  if (!masked) outline(context, where, colour);
}

/** The chosen box: white on black, so that it is seen on everything, with grips on its edges. */
export function selection(context: CanvasRenderingContext2D, where: Rectangle, colour: string, masked: boolean): void {
  tinted(context, where, colour, masked);
  outline(context, where, "#000", { width: 4 });
  outline(context, where, "#fff");
  const [left, top, width, height] = where;
  for (const x of [0, 0.5, 1])
    for (const y of [0, 0.5, 1]) {
      if (x === 0.5 && y === 0.5) continue;
      const grip: Rectangle = [left + x * width - GRIP / 2, top + y * height - GRIP / 2, GRIP, GRIP];
      context.fillStyle = "#fff";
      context.fillRect(...grip);
      outline(context, grip, "#000", { width: 1 });
    }
}
