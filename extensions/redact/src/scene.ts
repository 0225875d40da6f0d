// What the kernel says about a review, and boxes over frames.

/** First and last frame, both included; top, left, bottom, right, half open. As `Place` in the kernel. */
export type Place = [number, number, number, number, number, number];
export type Standing = "open" | "done" | "releasing" | "released" | "returned" | "refused";

export interface Listed {
  name: string;
  number: number;
  study: number;
  modality: string;
  frames: number;
  shape: [number, number];
  even: boolean;
  state: Standing;
}

export interface Changes {
  name: string;
  state: Standing;
  places: Place[];
  undo: boolean;
  redo: boolean;
}

export interface Detail extends Changes {
  why: string;
  held: string;
  proposed: Place[];
  fates: string[];
  stays: Place[];
  met: Place[];
}

export interface Scene {
  session: string;
  who: string;
  objects: Listed[];
}

export const keyOf = (place: Place): string => place.join(" ");

export const isIn = (place: Place, frame: number): boolean => place[0] <= frame && frame <= place[1];

export const areaOf = (place: Place): number => (place[4] - place[2]) * (place[5] - place[3]);

/** The place inside the object's frames, as it would be masked; null where nothing of it is. */
export function fitted(place: Place, one: Listed): Place | null {
  const [rows, columns] = one.shape;
  let [left, right] = [Math.max(place[3], 0), Math.min(place[5], columns)];
  if (one.even) [left, right] = [Math.floor(left / 2) * 2, Math.min(Math.ceil(right / 2) * 2, columns)];
  const made: Place = [
    Math.max(place[0], 0), Math.min(place[1], one.frames - 1), Math.max(place[2], 0), left, Math.min(place[4], rows), right,
  ];
  return made[0] <= made[1] && made[2] < made[4] && left < right ? made : null;
}

/** The place moved as a whole, and kept inside the frame. */
export function moved(place: Place, down: number, right: number, one: Listed): Place {
  const [rows, columns] = one.shape;
  const by = (least: number, most: number, wished: number) => Math.min(Math.max(wished, least), most);
  const y = by(-place[2], rows - place[4], down);
  const x = by(-place[3], columns - place[5], one.even ? 2 * Math.round(right / 2) : right);
  return [place[0], place[1], place[2] + y, place[3] + x, place[4] + y, place[5] + x];
}
