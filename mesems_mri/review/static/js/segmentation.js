/** Numbered masks by kind, their outlines in a slice, and runs over the C-order index. */

import { load } from "./volume.js";
import { walk } from "./orientation.js";

const KIND_VOLUME = { t2: 0, gel: 1 };

/** Masks of the findings; a 3D image holds all kinds, a 4D one T2 and GEL apart. */
export class Segmentation {
  constructor(image) {
    this.shape = image.shape;
    this.volumes = image.volumes.map((volume) => new Uint16Array(volume));
  }

  static async load(url) {
    return new Segmentation(await load(url));
  }

  static empty(shape) {
    const size = shape[0] * shape[1] * shape[2];
    return new Segmentation({ shape, volumes: [new Uint8Array(size), new Uint8Array(size)] });
  }

  of(kind) {
    return this.volumes[Math.min(KIND_VOLUME[kind] ?? 0, this.volumes.length - 1)];
  }

  at(voxel) {
    const index = flat(voxel, this.shape);
    return { t2: this.of("t2")[index], gel: this.of("gel")[index] };
  }

  /** Mask of a finding: 1 inside. */
  mask(finding) {
    const labels = this.of(finding.kind);
    const mask = new Uint8Array(labels.length);
    for (let n = 0; n < labels.length; n++) if (labels[n] === finding.label) mask[n] = 1;
    return mask;
  }

  /** Give a finding a new mask. */
  put(finding, mask) {
    const labels = this.of(finding.kind);
    for (let n = 0; n < labels.length; n++) {
      if (mask[n]) labels[n] = finding.label;
      else if (labels[n] === finding.label) labels[n] = 0;
    }
  }

  /** Outlines in a slice: `[{kind, label, lines}]`. */
  outlines(plane, index) {
    const found = [];
    const kinds = this.volumes.length > 1 ? ["t2", "gel"] : ["any"];
    for (const kind of kinds) {
      const slice = cut(this.of(kind === "any" ? "t2" : kind), plane, this.shape, index);
      for (const [label, lines] of outlinesOf(slice, plane)) found.push({ kind, label, lines });
    }
    return found;
  }
}

/** Index in the file of a voxel. */
export const flat = ([x, y, z], [nx, ny]) => x + nx * (y + ny * z);

export function cut(volume, plane, shape, index) {
  const { start, su, sv } = walk(plane, shape, index);
  const slice = new Uint16Array(plane.width * plane.height);
  let n = 0;
  for (let r = 0, from = start; r < plane.height; r++, from += sv)
    for (let c = 0, at = from; c < plane.width; c++, at += su) slice[n++] = volume[at];
  return slice;
}

/**
 * Trace the edges of every label of a slice.
 * @returns {Map<number, number[][]>} closed lines per label as [column, row, column, row, ...] of voxel corners
 */
export function outlinesOf(slice, plane) {
  const { width, height } = plane;
  const edges = new Map(); // label -> corner -> next corners, the inside on the right hand
  const corner = (c, r) => r * (width + 1) + c;
  const add = (label, from, to) => {
    let of = edges.get(label);
    if (!of) edges.set(label, (of = new Map()));
    const next = of.get(from);
    if (next) next.push(to);
    else of.set(from, [to]);
  };
  for (let r = 0, n = 0; r < height; r++) {
    for (let c = 0; c < width; c++, n++) {
      const label = slice[n];
      if (!label) continue;
      if (r === 0 || slice[n - width] !== label) add(label, corner(c, r), corner(c + 1, r));
      if (c === width - 1 || slice[n + 1] !== label) add(label, corner(c + 1, r), corner(c + 1, r + 1));
      if (r === height - 1 || slice[n + width] !== label) add(label, corner(c + 1, r + 1), corner(c, r + 1));
      if (c === 0 || slice[n - 1] !== label) add(label, corner(c, r + 1), corner(c, r));
    }
  }
  const found = new Map();
  for (const [label, next] of edges) {
    const lines = [];
    for (const start of next.keys()) {
      while (next.get(start)?.length) {
        const line = [];
        let at = start;
        do {
          line.push(at % (width + 1), Math.floor(at / (width + 1)));
          at = next.get(at).pop();
        } while (at !== start);
        lines.push(line);
      }
    }
    found.set(label, lines);
  }
  return found;
}

/** Encode a mask (x fastest) as runs over the C-order index (z fastest). */
export function toRuns(mask, [nx, ny, nz]) {
  const runs = [];
  let start = -1;
  let n = 0;
  for (let x = 0; x < nx; x++)
    for (let y = 0; y < ny; y++)
      for (let z = 0, at = x + nx * y; z < nz; z++, n++, at += nx * ny) {
        if (mask[at]) {
          if (start < 0) start = n;
        } else if (start >= 0) {
          runs.push([start, n - start]);
          start = -1;
        }
      }
  if (start >= 0) runs.push([start, n - start]);
  return runs;
}

/** Decode runs over the C-order index into a mask (x fastest). */
export function fromRuns(runs, [nx, ny, nz]) {
  const mask = new Uint8Array(nx * ny * nz);
  for (const [start, length] of runs)
    for (let n = start; n < start + length; n++) {
      const z = n % nz;
      const y = Math.floor(n / nz) % ny;
      mask[Math.floor(n / (nz * ny)) + nx * (y + ny * z)] = 1;
    }
  return mask;
}
