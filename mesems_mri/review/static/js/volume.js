/** Images as arrays: NIfTI read, the first window chosen, slices drawn. */

import { bytes } from "./api.js";
import { walk } from "./orientation.js";
import * as nifti from "../vendor/nifti-reader/nifti-reader.js";

const TYPES = {
  2: Uint8Array,
  4: Int16Array,
  8: Int32Array,
  16: Float32Array,
  64: Float64Array,
  256: Int8Array,
  512: Uint16Array,
  768: Uint32Array,
};
const SAMPLES = 20000;

/**
 * Load an image.
 * @returns {Promise<{shape: number[], spacing: number[], affine: number[][], volumes: TypedArray[], slope: number,
 *   inter: number}>} `volumes`: one array per volume of a 4D image, x fastest
 */
export async function load(url, priority) {
  const buffer = await bytes(url, priority);
  const header = nifti.isNIFTI(buffer) ? nifti.readHeader(buffer) : null;
  const Type = TYPES[header?.datatypeCode];
  if (!Type || !header.littleEndian) throw new Error("This is no image that the page can show.");
  const shape = [1, 2, 3].map((axis) => Math.max(1, header.dims[axis]));
  const size = shape[0] * shape[1] * shape[2];
  const count = header.dims[0] > 3 ? Math.max(1, header.dims[4]) * (header.dims[0] > 4 ? Math.max(1, header.dims[5]) : 1) : 1;
  const offset = header.vox_offset;
  const volumes = Array.from(
    { length: count },
    (_, n) => new Type(buffer, offset + n * size * Type.BYTES_PER_ELEMENT, size),
  );
  const slope = Number.isFinite(header.scl_slope) && header.scl_slope !== 0 ? header.scl_slope : 1;
  const inter = Number.isFinite(header.scl_inter) ? header.scl_inter : 0;
  const affine = header.affine.slice(0, 3).map((row) => [...row]);
  const spacing = [0, 1, 2].map((axis) => Math.hypot(affine[0][axis], affine[1][axis], affine[2][axis]));
  return { shape, spacing, affine, volumes, slope, inter };
}

/** Window that shows the middle of the head well; symmetric about no change for a difference. */
export function firstWindow(image, isDifference) {
  const [nx, ny, nz] = image.shape;
  const data = image.volumes[0];
  const values = [];
  const inner = (n) => [Math.floor(n * 0.25), Math.ceil(n * 0.75)];
  const [[x0, x1], [y0, y1], [z0, z1]] = [nx, ny, nz].map(inner);
  const step = Math.max(1, Math.floor(((x1 - x0) * (y1 - y0) * (z1 - z0)) / SAMPLES));
  let n = 0;
  for (let z = z0; z < z1; z++)
    for (let y = y0; y < y1; y++)
      for (let x = x0; x < x1; x++) {
        if (n++ % step) continue;
        const value = data[x + nx * (y + ny * z)] * image.slope + image.inter;
        if (value !== 0 && Number.isFinite(value)) values.push(isDifference ? Math.abs(value) : value);
      }
  if (!values.length) return { low: 0, high: 1 };
  values.sort((a, b) => a - b);
  const at = (q) => values[Math.min(values.length - 1, Math.floor(q * values.length))];
  if (isDifference) return { low: -3 * at(0.9), high: 3 * at(0.9) };
  const low = Math.min(at(0.02), at(0.5) * 0.4);
  return { low, high: Math.max(at(0.995) * 1.08, low + 1e-6) };
}

/** Fill the pixels (0xAABBGGRR) of a slice. */
export function paint(pixels, image, plane, index, window) {
  const data = image.volumes[0];
  const { start, su, sv } = walk(plane, image.shape, index);
  const low = (window.low - image.inter) / image.slope;
  const scale = 255 / ((window.high - window.low) / image.slope || 1);
  let n = 0;
  for (let r = 0, from = start; r < plane.height; r++, from += sv) {
    for (let c = 0, at = from; c < plane.width; c++, at += su) {
      let grey = (data[at] - low) * scale;
      grey = grey > 255 ? 255 : grey > 0 ? grey | 0 : 0;
      pixels[n++] = 0xff000000 | (grey * 0x010101);
    }
  }
}
