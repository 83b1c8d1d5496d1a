/** Draws the last decoded picture as the present view sees it, so that a drag answers before the next picture is there. */

import { homography } from "./geometry.js";
import { Unsupported } from "./errors.js";

/** @typedef {{pixels: Uint8Array, rowLength: number, width: number, height: number}} Pixels red, green, blue */

const VERTEX = `#version 300 es
out vec2 clip;
void main() {
  vec2 corner = vec2(gl_VertexID % 2, gl_VertexID / 2);
  clip = 4.0 * corner - 1.0;
  gl_Position = vec4(clip, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec2 clip;
out vec4 colour;
uniform mat3 toPicture;
uniform sampler2D picture;
void main() {
  vec3 ray = toPicture * vec3(clip, 1.0);
  vec2 there = ray.xy / ray.z;
  bool inside = ray.z > 0.0 && max(abs(there.x), abs(there.y)) <= 1.001;
  vec3 edge = texture(picture, clamp(there * vec2(0.5, -0.5) + 0.5, 0.0, 1.0)).rgb;
  colour = vec4(inside ? edge : ray.z > 0.0 ? 0.4 * edge : vec3(0.05), 1.0);
}`;

export class PictureCanvas {
  /** @type {WebGL2RenderingContext} */ #gl;
  /** @type {WebGLUniformLocation | null} */ #matrix;
  /** @type {import("./geometry.js").Viewport | null} */ #shown = null;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
    if (!gl) throw new Unsupported("This browser has no WebGL 2, which draws the picture.");
    this.#gl = gl;
    const program = gl.createProgram();
    for (const [kind, source] of /** @type {const} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]])) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    this.#matrix = gl.getUniformLocation(program, "toPicture");
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const [name, value] of [
      [gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR],
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
    ]) gl.texParameteri(gl.TEXTURE_2D, name, value);
  }

  /** @param {ImageBitmap | Pixels} picture @param {import("./geometry.js").Viewport} view */
  take(picture, view) {
    const gl = this.#gl;
    if (picture instanceof ImageBitmap) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, picture);
    } else {
      gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
      gl.pixelStorei(gl.UNPACK_ROW_LENGTH, picture.rowLength);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, picture.width, picture.height, 0, gl.RGB, gl.UNSIGNED_BYTE, picture.pixels);
      gl.pixelStorei(gl.UNPACK_ROW_LENGTH, 0);
    }
    this.#shown = view;
  }

  /** @param {import("./geometry.js").Viewport} view */
  draw(view) {
    if (!this.#shown) return;
    const gl = this.#gl;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.uniformMatrix3fv(this.#matrix, true, homography(this.#shown, view));
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
