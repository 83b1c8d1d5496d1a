/** Draws the last decoded picture, reprojected to the present view: a drag shows before the next picture is decoded. */

import { homography, multiply, rotation } from "./geometry.js";
import { Unsupported } from "./errors.js";

/** @typedef {import("./geometry.js").Viewport} Viewport */
/** @typedef {{program: WebGLProgram, matrix: WebGLUniformLocation | null}} Program */
/** @typedef {{pixels: Uint8Array, rowLength: number, width: number, height: number}} Pixels red, green, blue */

const VERTEX = `#version 300 es
out vec2 clip;
void main() {
  vec2 corner = vec2(gl_VertexID % 2, gl_VertexID / 2);
  clip = 4.0 * corner - 1.0;
  gl_Position = vec4(clip, 0.0, 1.0);
}`;

const PICTURE_FRAGMENT = `#version 300 es
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

const SOURCE_FRAGMENT = `#version 300 es
precision highp float;
in vec2 clip;
out vec4 colour;
uniform mat3 toRay;
uniform sampler2D panorama;
const float PI = 3.14159265358979;
void main() {
  vec3 ray = toRay * vec3(clip, 1.0);
  vec2 angle = vec2(atan(ray.x, ray.z), atan(ray.y, length(ray.xz)));
  colour = vec4(texture(panorama, vec2(0.5 + angle.x / (2.0 * PI), 0.5 - angle.y / PI)).rgb, 1.0);
}`;

/** @type {WeakMap<HTMLCanvasElement, () => void>} */
const released = new WeakMap(); // canvases whose context was given back, and what restores it

export class PictureCanvas {
  /**
   * Draw on a canvas; null where its context was given back, and is restored with an event "webglcontextrestored".
   * @param {HTMLCanvasElement} canvas
   */
  static open(canvas) {
    const restore = released.get(canvas);
    if (!restore) return new PictureCanvas(canvas);
    released.delete(canvas);
    restore();
    return null;
  }

  /** @type {WebGL2RenderingContext} */ #gl;
  /** @type {Program} */ #picture;
  /** @type {Program} */ #source;
  /** @type {WebGLTexture} */ #pictureTexture;
  /** @type {WebGLTexture} */ #sourceTexture;
  /** @type {Viewport | null} */ #pictureView = null;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
    if (!gl) throw new Unsupported("This browser has no WebGL 2, which draws the picture.");
    this.#gl = gl;
    this.#picture = this.#program(PICTURE_FRAGMENT, "toPicture");
    this.#source = this.#program(SOURCE_FRAGMENT, "toRay");
    this.#pictureTexture = this.#texture(gl.CLAMP_TO_EDGE);
    this.#sourceTexture = this.#texture(gl.REPEAT);
  }

  /** Give the graphics processor's memory and the context back: a browser has few of them. */
  close() {
    const extension = this.#gl.getExtension("WEBGL_lose_context");
    const canvas = /** @type {HTMLCanvasElement} */ (this.#gl.canvas);
    if (!extension) return;
    const lost = new Promise((resolve) => canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault(); // so that it can be restored
      resolve(event);
    }, { once: true }));
    released.set(canvas, () => lost.then(() => window.setTimeout(() => extension.restoreContext())));
    extension.loseContext();
  }

  /** Take a decoded picture. @param {ImageBitmap | Pixels} picture @param {Viewport} view that it shows */
  upload(picture, view) {
    const gl = this.#gl;
    gl.bindTexture(gl.TEXTURE_2D, this.#pictureTexture);
    if (picture instanceof ImageBitmap) {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, picture);
    } else {
      gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
      gl.pixelStorei(gl.UNPACK_ROW_LENGTH, picture.rowLength);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, picture.width, picture.height, 0, gl.RGB, gl.UNSIGNED_BYTE, picture.pixels);
      gl.pixelStorei(gl.UNPACK_ROW_LENGTH, 0);
    }
    this.#pictureView = view;
  }

  /** @param {HTMLVideoElement} panorama */
  uploadSource(panorama) {
    const gl = this.#gl;
    gl.bindTexture(gl.TEXTURE_2D, this.#sourceTexture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, panorama);
  }

  /** @param {Viewport} view @param {number | null} split share of the width, right of which the source is drawn */
  draw(view, split = null) {
    if (!this.#pictureView) return;
    const gl = this.#gl;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    this.#drawPicture(this.#pictureView, view);
    if (split === null) return;
    const left = Math.round(split * gl.drawingBufferWidth);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(left, 0, gl.drawingBufferWidth - left, gl.drawingBufferHeight);
    this.#drawSource(view);
    gl.disable(gl.SCISSOR_TEST);
  }

  /** PSNR of the picture against the source in its view, over red, green and blue. */
  psnrDb() {
    const gl = this.#gl;
    const view = /** @type {Viewport} */ (this.#pictureView);
    const target = gl.createFramebuffer();
    const texture = this.#texture(gl.CLAMP_TO_EDGE);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, view.width, view.height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    gl.viewport(0, 0, view.width, view.height);
    const read = (/** @type {() => void} */ draw) => {
      draw();
      const pixels = new Uint8Array(4 * view.width * view.height);
      gl.readPixels(0, 0, view.width, view.height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
      return pixels;
    };
    const [decoded, source] = [read(() => this.#drawPicture(view, view)), read(() => this.#drawSource(view))];
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.deleteFramebuffer(target);
    gl.deleteTexture(texture);
    const squares = decoded.reduce((sum, value, at) => sum + (value - source[at]) ** 2, 0); // alpha does not differ
    return 10 * Math.log10(255 ** 2 / (squares / (3 * view.width * view.height)));
  }

  /** @param {Viewport} shown @param {Viewport} view */
  #drawPicture(shown, view) {
    this.#drawTriangle(this.#picture, this.#pictureTexture, homography(shown, view));
  }

  /** @param {Viewport} view */
  #drawSource(view) {
    const half = (/** @type {number} */ fov) => Math.tan((fov * Math.PI) / 360);
    const outOf = [half(view.hfovDeg), 0, 0, 0, half(view.vfovDeg), 0, 0, 0, 1];
    this.#drawTriangle(this.#source, this.#sourceTexture, multiply(rotation(view), outOf));
  }

  /** @param {Program} program @param {WebGLTexture} texture @param {number[]} matrix */
  #drawTriangle({ program, matrix: uniform }, texture, matrix) {
    const gl = this.#gl;
    gl.useProgram(program);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.uniformMatrix3fv(uniform, true, matrix);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** @param {string} fragment @param {string} matrix @returns {Program} */
  #program(fragment, matrix) {
    const gl = this.#gl;
    const program = gl.createProgram();
    for (const [kind, source] of /** @type {const} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]])) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    return { program, matrix: gl.getUniformLocation(program, matrix) };
  }

  /** @param {number} wrap across the left and right edge @returns {WebGLTexture} bound */
  #texture(wrap) {
    const gl = this.#gl;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const [name, value] of [
      [gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR],
      [gl.TEXTURE_WRAP_S, wrap], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
    ]) gl.texParameteri(gl.TEXTURE_2D, name, value);
    return texture;
  }
}
