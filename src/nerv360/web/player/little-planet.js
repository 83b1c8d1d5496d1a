/** The little planet: the sphere around what is below, stereographically; decoded as the six views of a cube. */

import { clipToRays, multiply, rotation, transpose } from "./geometry.js";

/**
 * @typedef {import("./geometry.js").Viewport} Viewport
 * @typedef {import("./canvas.js").PictureCanvas} PictureCanvas
 */

const EDGE = 512; // pixels of a face
const SPREAD = 4; // times a view's extent: the horizon is a bit more than half as high as the picture
const DOWNWARD = [1, 0, 0, 0, -1, 0, 0, 0, 1]; // the first row of a face is its top
const FACES = [[90, 0], [-90, 0], [0, 90], [0, -90], [0, 0], [180, 0]].map(([yawDeg, pitchDeg]) => (
  { yawDeg, pitchDeg, rollDeg: 0, hfovDeg: 90, vfovDeg: 90, width: EDGE, height: EDGE })); // in WebGL's order

const FRAGMENT = `#version 300 es
precision highp float;
in vec2 clip;
out vec4 colour;
uniform mat3 turn;
uniform vec2 extent; // of the picture, in tangents of half the angle from its middle
uniform samplerCube sphere;
void main() {
  vec2 there = clip * extent;
  colour = vec4(texture(sphere, turn * vec3(2.0 * there, 1.0 - dot(there, there))).rgb, 1.0);
}`;

export class LittlePlanet {
  /** @type {PictureCanvas} */ #canvas;
  #program;
  #framebuffer;
  #spheres; // the one that is drawn, and the one whose faces come in
  /** @type {{frame: number, views: Viewport[]}} */ #incoming = { frame: -1, views: [] };
  #arrived = 0; // faces of it
  #drawable = false;

  /** @param {PictureCanvas} canvas */
  constructor(canvas) {
    const { gl } = canvas;
    this.#canvas = canvas;
    this.#program = canvas.program(FRAGMENT);
    this.#framebuffer = gl.createFramebuffer();
    this.#spheres = [0, 1].map(() => {
      const sphere = gl.createTexture();
      gl.bindTexture(gl.TEXTURE_CUBE_MAP, sphere);
      gl.texStorage2D(gl.TEXTURE_CUBE_MAP, Math.log2(EDGE) + 1, gl.RGBA8, EDGE, EDGE);
      gl.texParameteri(gl.TEXTURE_CUBE_MAP, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
      return sphere;
    });
  }

  close() {
    const { gl } = this.#canvas;
    gl.deleteProgram(this.#program.program);
    gl.deleteFramebuffer(this.#framebuffer);
    for (const sphere of this.#spheres) gl.deleteTexture(sphere);
  }

  /** Whether a whole sphere is there. */
  get drawable() {
    return this.#drawable;
  }

  /** Whether no frame is half there. */
  get whole() {
    return this.#arrived === FACES.length;
  }

  /** Decode all faces anew. */
  restart() {
    this.#arrived = 0;
  }

  /**
   * The next face to decode; once all are there, the last.
   * @param {number} frame to begin with, if no other is half there @param {(face: Viewport) => Viewport} sized
   * @returns {import("./player.js").ViewRequest}
   */
  wanted(frame, sized) {
    const next = { frame, views: FACES.map(sized) };
    if (this.whole && JSON.stringify(next) !== JSON.stringify(this.#incoming)) this.#arrived = 0;
    if (this.#arrived === 0) this.#incoming = next;
    const { views } = this.#incoming;
    return { frame: this.#incoming.frame, view: views[Math.min(this.#arrived, views.length - 1)], moving: false, eyes: 1, planet: this };
  }

  /** Take the wanted face, which is the canvas's picture. */
  take() {
    if (this.whole) return;
    const { gl } = this.#canvas;
    const [, sphere] = this.#spheres;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.#framebuffer);
    const face = gl.TEXTURE_CUBE_MAP_POSITIVE_X + this.#arrived;
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, face, sphere, 0);
    const toRays = multiply(clipToRays(FACES[this.#arrived]), DOWNWARD);
    this.#canvas.drawInto(this.#framebuffer, { x: 0, y: 0, width: EDGE, height: EDGE }, toRays);
    this.#arrived++;
    if (!this.whole) return;
    gl.bindTexture(gl.TEXTURE_CUBE_MAP, sphere);
    gl.generateMipmap(gl.TEXTURE_CUBE_MAP);
    this.#spheres.reverse();
    this.#drawable = true;
  }

  /** @param {Viewport} view */
  draw(view) {
    const { gl } = this.#canvas;
    const { program, uniforms } = this.#program;
    gl.useProgram(program);
    gl.bindTexture(gl.TEXTURE_CUBE_MAP, this.#spheres[0]);
    gl.uniformMatrix3fv(uniforms("turn"), true, turn(view));
    gl.uniform2fv(uniforms("extent"), extent(view));
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

/**
 * Where a direction is seen: pixels from the top left corner, which may lie outside.
 * @param {Viewport} view @param {number} yawDeg @param {number} pitchDeg
 */
export function projectOnPlanet(view, yawDeg, pitchDeg) {
  const turned = multiply(transpose(turn(view)), rotation({ yawDeg, pitchDeg, rollDeg: 0 }));
  const [right, up, depth] = [turned[2], turned[5], turned[8]];
  const [across, high] = extent(view);
  const scale = 1 / Math.max(1 + depth, 1e-6); // above it is at infinity
  return { x: (view.width / 2) * (1 + (scale * right) / across), y: (view.height / 2) * (1 - (scale * up) / high) };
}

/** Its middle is below a view that looks ahead, which is up. @param {Viewport} view */
const turn = (view) => rotation({ ...view, pitchDeg: view.pitchDeg - 90 });

/** @param {Viewport} view */
const extent = ({ hfovDeg, vfovDeg }) => [hfovDeg, vfovDeg].map((fov) => SPREAD * Math.tan((fov * Math.PI) / 360));
