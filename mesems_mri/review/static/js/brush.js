/** Draft of a mask that is edited with a brush, stroke by stroke. */

import { flat } from "./segmentation.js";
import { fromPlane } from "./orientation.js";

export class MaskDraft {
  /** @param {Uint8Array} mask x fastest */
  constructor(mask, grid) {
    this.mask = mask;
    this.grid = grid;
    this.strokes = [];
    this.last = null;
  }

  get changed() {
    return this.strokes.length > 0;
  }

  get voxels() {
    let count = 0;
    for (const inside of this.mask) count += inside;
    return count;
  }

  begin() {
    this.stroke = new Map(); // index -> value before
    this.last = null;
  }

  end() {
    if (this.stroke?.size) this.strokes.push(this.stroke);
    this.stroke = null;
    this.last = null;
  }

  /** Take the last stroke back. */
  undo() {
    const stroke = this.strokes.pop();
    if (!stroke) return false;
    for (const [index, before] of stroke) this.mask[index] = before;
    return true;
  }

  /** Paint from the last point to this one. */
  paint(plane, column, row, cross, { radius, erase, ball }) {
    if (!this.stroke) return;
    const [c0, r0] = this.last ?? [column, row];
    const step = Math.max(0.5, radius / 2 / Math.min(plane.du, plane.dv));
    const count = Math.max(1, Math.ceil(Math.hypot(column - c0, row - r0) / step));
    for (let n = 1; n <= count; n++)
      this.#dab(plane, c0 + ((column - c0) * n) / count, r0 + ((row - r0) * n) / count, cross, radius, erase, ball);
    this.last = [column, row];
  }

  #dab(plane, column, row, cross, radius, erase, ball) {
    const { shape, spacing } = this.grid;
    const value = erase ? 0 : 1;
    const depth = ball ? Math.floor(radius / spacing[plane.w]) : 0;
    const across = radius / plane.du;
    const down = radius / plane.dv;
    for (let w = -depth; w <= depth; w++) {
      const at = [...cross];
      at[plane.w] += w;
      if (at[plane.w] < 0 || at[plane.w] >= shape[plane.w]) continue;
      const off = w * spacing[plane.w];
      for (let r = Math.floor(row - down); r <= row + down; r++) {
        for (let c = Math.floor(column - across); c <= column + across; c++) {
          if (c < 0 || r < 0 || c >= plane.width || r >= plane.height) continue;
          const own = c === Math.floor(column) && r === Math.floor(row) && w === 0;
          const distance = Math.hypot((c + 0.5 - column) * plane.du, (r + 0.5 - row) * plane.dv, off);
          if (distance > radius && !own) continue;
          const index = flat(fromPlane(plane, c, r, at), shape);
          if (this.mask[index] === value) continue;
          if (!this.stroke.has(index)) this.stroke.set(index, this.mask[index]);
          this.mask[index] = value;
        }
      }
    }
  }
}
