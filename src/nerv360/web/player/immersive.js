/** In a headset, by WebXR: what is decoded for the head, of each eye where there are two, is drawn as the head is turned then. */

import { multiply, rotation, rotationAngles, transpose } from "./geometry.js";

/**
 * @typedef {import("./geometry.js").Matrix} Matrix
 * @typedef {{hfovDeg: number, vfovDeg: number, width: number, height: number}} Lens what both eyes see, and more
 * @typedef {object} ImmersiveHost
 * @property {() => number} yawDeg where the view looks
 * @property {(angles: import("./geometry.js").Angles, lens: Lens) => void} look decode this
 * @property {(now: number) => void} tick before every picture; the window has no animation frames now
 * @property {(framebuffer: WebGLFramebuffer | null, place: {x: number, y: number, width: number, height: number}, toRays: Matrix, eye: number) => void} draw
 * @property {() => void} select the trigger was pulled
 * @property {() => void} ended
 */

const MARGIN_DEG = 10; // around what the eyes see: so far the head may turn before the next picture comes
const STEP_DEG = 3; // that the head turns before another view is decoded: one that is held still gets a sharp picture
const MAX_FOV_DEG = 130;
const DEGREE = Math.PI / 180;

export class Immersive {
  #headYawDeg = NaN; // of the headset's space in the world; NaN: the first pose keeps the view
  /** @type {Matrix | null} */ #looked = null; // rotation of the view that is decoded

  /**
   * Begin. Rejects where the user, the browser or the device refuses.
   * @param {WebGL2RenderingContext} gl @param {ImmersiveHost} host
   */
  static async begin(gl, host) {
    const session = await /** @type {any} */ (navigator).xr.requestSession("immersive-vr");
    try {
      await /** @type {any} */ (gl).makeXRCompatible();
      const layer = new /** @type {any} */ (window).XRWebGLLayer(session, gl, { antialias: false, depth: false });
      session.updateRenderState({ baseLayer: layer });
      return new Immersive(session, await session.requestReferenceSpace("local"), layer, host);
    } catch (error) {
      await session.end();
      throw error;
    }
  }

  /** @param {any} session XRSession @param {any} space XRReferenceSpace @param {any} layer XRWebGLLayer @param {ImmersiveHost} host */
  constructor(session, space, layer, host) {
    this.session = session;
    this.space = space;
    this.layer = layer;
    this.host = host;
    session.addEventListener("end", () => host.ended());
    session.addEventListener("select", () => host.select());
    session.requestAnimationFrame(this.#draw);
  }

  /** End; the host is told. */
  end() {
    return this.session.end();
  }

  /** @param {number} now milliseconds @param {any} frame XRFrame */
  #draw = (now, frame) => {
    this.session.requestAnimationFrame(this.#draw);
    const pose = frame.getViewerPose(this.space);
    if (pose) this.#look(pose);
    this.host.tick(now);
    for (const eye of pose?.views ?? []) {
      const toRays = multiply(this.#inWorld(eye.transform), raysOf(eye.projectionMatrix));
      this.host.draw(this.layer.framebuffer, this.layer.getViewport(eye), toRays, eye.eye === "right" ? 1 : 0);
    }
  };

  /** Have another view decoded once the head has turned. @param {any} pose XRViewerPose */
  #look({ transform, views }) {
    if (Number.isNaN(this.#headYawDeg)) {
      this.#headYawDeg = 0;
      this.#headYawDeg = this.host.yawDeg() - rotationAngles(this.#inWorld(transform)).yawDeg;
    }
    const head = this.#inWorld(transform);
    if (this.#looked && angleDeg(this.#looked, head) < STEP_DEG) return;
    this.#looked = head;
    this.host.look(rotationAngles(head), this.#lens(head, views));
  }

  /** The view along the head that has what all eyes see, as dense as they are. @param {Matrix} head @param {any[]} eyes XRView */
  #lens(head, eyes) {
    let [across, up, pixels] = [0, 0, 0]; // tangents, and pixels in one
    for (const eye of eyes) {
      const toHead = multiply(transpose(head), multiply(this.#inWorld(eye.transform), raysOf(eye.projectionMatrix)));
      for (const [x, y] of [[-1, -1], [-1, 1], [1, -1], [1, 1]]) {
        const [right, over, depth] = [0, 3, 6].map((row) => toHead[row] * x + toHead[row + 1] * y + toHead[row + 2]);
        [across, up] = [Math.max(across, Math.abs(right / depth)), Math.max(up, Math.abs(over / depth))];
      }
      pixels = Math.max(pixels, (this.layer.getViewport(eye).width * eye.projectionMatrix[0]) / 2);
    }
    const [hfovDeg, vfovDeg] = [across, up].map((tangent) =>
      Math.min(MAX_FOV_DEG, Math.ceil((2 * Math.atan(tangent)) / DEGREE + 2 * MARGIN_DEG)));
    const [width, height] = [hfovDeg, vfovDeg].map((fov) => Math.round(2 * Math.tan((fov * DEGREE) / 2) * pixels));
    return { hfovDeg, vfovDeg, width, height };
  }

  /** Camera-to-world. @param {any} transform XRRigidTransform: there z is backward, and matrices are column by column */
  #inWorld({ matrix: m }) {
    const turned = [m[0], m[4], -m[8], m[1], m[5], -m[9], -m[2], -m[6], m[10]];
    return multiply(rotation({ yawDeg: this.#headYawDeg, pitchDeg: 0, rollDeg: 0 }), turned);
  }
}

/** From clip coordinates to rays of a camera. @param {Float32Array} p projection, column by column @returns {Matrix} */
const raysOf = (p) => [1 / p[0], 0, p[8] / p[0], 0, 1 / p[5], p[9] / p[5], 0, 0, 1];

/** Between two rotations. @param {Matrix} a @param {Matrix} b */
function angleDeg(a, b) {
  const turned = multiply(transpose(a), b);
  return Math.acos(Math.max(-1, Math.min(1, (turned[0] + turned[4] + turned[8] - 1) / 2))) / DEGREE;
}
