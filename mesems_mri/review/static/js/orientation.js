/** Orientation of a grid: which voxel axis runs along which axis of the body, and how a plane lies on the screen. */

/** Axes of the screen in body terms, radiological convention: [what lies left, right, above, below]. */
const VIEWS = {
  axial: { across: 0, down: 1, through: 2, letters: ["R", "L", "A", "P"] },
  coronal: { across: 0, down: 2, through: 1, letters: ["R", "L", "S", "I"] },
  sagittal: { across: 1, down: 2, through: 0, letters: ["A", "P", "S", "I"] },
};

export const PLANES = Object.keys(VIEWS);

/**
 * Match voxel axes with body axes (R, A, S): each body axis gets one voxel axis, the best matches first.
 * @param {number[][]} affine rows of voxel to mm
 * @returns {{axis: number, sign: number}[]} by body axis; sign 1: the index grows towards R, A or S
 */
export function bodyAxes(affine) {
  const pairs = [];
  for (let axis = 0; axis < 3; axis++) {
    const length = Math.hypot(affine[0][axis], affine[1][axis], affine[2][axis]) || 1;
    for (let body = 0; body < 3; body++) pairs.push({ axis, body, cosine: affine[body][axis] / length });
  }
  pairs.sort((a, b) => Math.abs(b.cosine) - Math.abs(a.cosine));
  const found = [];
  for (const { axis, body, cosine } of pairs) {
    if (found[body] || found.some((other) => other?.axis === axis)) continue;
    found[body] = { axis, sign: cosine < 0 ? -1 : 1 };
  }
  return found;
}

/**
 * Lay out a plane: voxel axes `u` (to the right), `v` (downwards), `w` (through); `uFlip`, `vFlip`: the index
 * falls in that direction. Right, anterior and superior lie left or above.
 */
export function layOut(name, grid) {
  const view = VIEWS[name];
  const axes = bodyAxes(grid.affine);
  const [u, v, w] = [view.across, view.down, view.through].map((body) => axes[body]);
  return {
    name,
    u: u.axis,
    v: v.axis,
    w: w.axis,
    uFlip: u.sign > 0,
    vFlip: v.sign > 0,
    wSign: w.sign,
    width: grid.shape[u.axis],
    height: grid.shape[v.axis],
    depth: grid.shape[w.axis],
    du: grid.spacing[u.axis],
    dv: grid.spacing[v.axis],
    letters: view.letters,
  };
}

/** Column and row of a voxel in a plane. */
export const toPlane = (plane, voxel) => [
  plane.uFlip ? plane.width - 1 - voxel[plane.u] : voxel[plane.u],
  plane.vFlip ? plane.height - 1 - voxel[plane.v] : voxel[plane.v],
];

/** Voxel of a column and row in the slice that `cross` lies in, kept within the grid. */
export function fromPlane(plane, column, row, cross) {
  const keep = (value, size) => Math.min(size - 1, Math.max(0, Math.floor(value)));
  const voxel = [...cross];
  const c = keep(column, plane.width);
  const r = keep(row, plane.height);
  voxel[plane.u] = plane.uFlip ? plane.width - 1 - c : c;
  voxel[plane.v] = plane.vFlip ? plane.height - 1 - r : r;
  return voxel;
}

/** First index and steps of a slice in the flat array of the file (x fastest). */
export function walk(plane, shape, index) {
  const strides = [1, shape[0], shape[0] * shape[1]];
  const su = strides[plane.u] * (plane.uFlip ? -1 : 1);
  const sv = strides[plane.v] * (plane.vFlip ? -1 : 1);
  let start = index * strides[plane.w];
  if (plane.uFlip) start += (plane.width - 1) * strides[plane.u];
  if (plane.vFlip) start += (plane.height - 1) * strides[plane.v];
  return { start, su, sv };
}
