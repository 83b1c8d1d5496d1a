/** Draws the last decoded picture, reprojected to the present view: a drag shows before the next picture is decoded. */

import { clipToRays, multiply, raysToClip } from "./geometry.js";
import { Unsupported } from "./errors.js";

/** @typedef {import("./geometry.js").Viewport} Viewport */
/** @typedef {import("./geometry.js").Matrix} Matrix */
/** @typedef {import("./motion/panorama-window.js").PanoramaWindow} PanoramaWindow */
/** @typedef {{origin: [number, number], size: [number, number]}} Window column and row of its corner; columns and rows of the panorama */
/** @typedef {(name: string) => WebGLUniformLocation | null} Uniforms */
/** @typedef {{program: WebGLProgram, uniforms: Uniforms}} Program */
/** @typedef {{pixels: Uint8Array, rowLength: number, width: number, height: number}} Pixels red, green, blue */
/** @typedef {{pixels: Uint8Array, window: PanoramaWindow, panorama: {width: number, height: number}}} WindowPixels likewise, of a
 *   window of the panorama: views are sampled from it here */

/** @typedef {ImageBitmap | Pixels | WindowPixels} Drawable */
/** @typedef {{texture: WebGLTexture, view: Viewport, window: Window | null}} Shown a picture: its view, or where it lies in the panorama */

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

const PANORAMA_FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
in vec2 clip;
out vec4 colour;
uniform mat3 toRay;
uniform ivec2 size; // of the panorama: columns, rows
uniform ivec2 origin; // of the window, which the texture holds
uniform highp sampler2D window;
const float PI = 3.14159265358979;

// Column and row in the window; columns go round, and over a pole the panorama goes on half a turn away.
ivec2 place(ivec2 cell) {
  if (cell.y < 0) cell = ivec2(cell.x + size.x / 2, -1 - cell.y);
  if (cell.y >= size.y) cell = ivec2(cell.x + size.x / 2, 2 * size.y - 1 - cell.y);
  int column = cell.x - origin.x;
  return ivec2(column - size.x * int(floor(float(column) / float(size.x))), cell.y - origin.y);
}

vec3 at(ivec2 cell) {
  ivec2 there = place(cell);
  ivec2 most = textureSize(window, 0) - 1;
  if (there.x > (size.x + most.x) / 2) there.x = 0; // beyond the left edge, which is nearer
  return texelFetch(window, clamp(there, ivec2(0), most), 0).rgb;
}

void main() {
  vec3 ray = toRay * vec3(clip, 1.0);
  vec2 angle = vec2(atan(ray.x, ray.z), atan(ray.y, length(ray.xz)));
  vec2 position = vec2(0.5 + angle.x / (2.0 * PI), 0.5 - angle.y / PI) * vec2(size) - 0.5;
  ivec2 cell = ivec2(floor(position));
  vec2 part = position - vec2(cell);
  vec3 above = mix(at(cell), at(cell + ivec2(1, 0)), part.x);
  vec3 below = mix(at(cell + ivec2(0, 1)), at(cell + ivec2(1, 1)), part.x);
  ivec2 there = place(cell);
  bool inside = there == clamp(there, ivec2(0), textureSize(window, 0) - 1);
  colour = vec4((inside ? 1.0 : 0.4) * mix(above, below, part.y), 1.0);
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

  /** Drawn instead of the picture. @type {import("./little-planet.js").LittlePlanet | null} */ #planet = null;
  /** @type {WebGL2RenderingContext} */ #gl;
  /** @type {Program} */ #picture;
  /** @type {Program} */ #panorama;
  /** Of the left eye, which others see too where there is one, and of the right. @type {WebGLTexture[]} */ #pictureTextures;
  /** @type {WebGLTexture} */ #sourceTexture;
  /** @type {Shown[]} */ #shown = []; // by eye
  #uploads = 0;
  #drawn = ""; // view, size and picture
  /** @type {Window} */ #sourceWindow = { origin: [0, 0], size: [1, 1] };

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
    if (!gl) throw new Unsupported("This browser has no WebGL 2, which draws the picture.");
    this.#gl = gl;
    this.#picture = this.program(PICTURE_FRAGMENT);
    this.#panorama = this.program(PANORAMA_FRAGMENT);
    this.#pictureTextures = [this.#texture(), this.#texture()];
    this.#sourceTexture = this.#texture();
  }

  get gl() {
    return this.#gl;
  }

  get planet() {
    return this.#planet;
  }

  /** Show it from the next picture on, or no longer. */
  set planet(planet) {
    this.#planet?.close();
    this.#planet = planet;
    this.#shown = [];
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

  /**
   * Take a decoded picture, and that of the right eye where it is another.
   * @param {Drawable} picture @param {Viewport} view that they show @param {Drawable | null} right
   */
  upload(picture, view, right = null) {
    this.#shown = [picture, right].flatMap((each, eye) => (each ? [this.#uploadPicture(each, view, this.#pictureTextures[eye])] : []));
    this.#uploads++;
  }

  /** @param {Drawable} picture @param {Viewport} view @param {WebGLTexture} texture @returns {Shown} */
  #uploadPicture(picture, view, texture) {
    const gl = this.#gl;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    if (picture instanceof ImageBitmap) gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, picture);
    else if ("window" in picture) this.#uploadPixels({ ...picture, ...picture.window, rowLength: picture.window.width });
    else this.#uploadPixels(picture);
    return { texture, view, window: "window" in picture ? windowIn(picture) : null };
  }

  /** @param {HTMLVideoElement} panorama */
  uploadSource(panorama) {
    const gl = this.#gl;
    gl.bindTexture(gl.TEXTURE_2D, this.#sourceTexture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, panorama);
    this.#uploads++;
    this.#sourceWindow = { origin: [0, 0], size: [panorama.videoWidth, panorama.videoHeight] };
  }

  /** @param {Pixels} pixels */
  #uploadPixels({ pixels, rowLength, width, height }) {
    const gl = this.#gl;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.pixelStorei(gl.UNPACK_ROW_LENGTH, rowLength);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, width, height, 0, gl.RGB, gl.UNSIGNED_BYTE, pixels);
    gl.pixelStorei(gl.UNPACK_ROW_LENGTH, 0);
  }

  /**
   * Draw, unless the canvas shows that already.
   * @param {Viewport} view @param {number | null} split share of the width, right of which the source is drawn
   * @param {boolean} again in any case: what was drawn before cannot be read any more
   */
  draw(view, split = null, again = false) {
    const gl = this.#gl;
    const wanted = JSON.stringify([view, split, this.#uploads, gl.drawingBufferWidth, gl.drawingBufferHeight]);
    if (!this.#shown.length || this.#planet?.drawable === false || (wanted === this.#drawn && !again)) return;
    this.#drawn = wanted;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    if (this.#planet) this.#planet.draw(view);
    else this.#drawPicture(clipToRays(view));
    if (split === null) return;
    const left = Math.round(split * gl.drawingBufferWidth);
    gl.enable(gl.SCISSOR_TEST);
    gl.scissor(left, 0, gl.drawingBufferWidth - left, gl.drawingBufferHeight);
    this.#drawSource(clipToRays(view));
    gl.disable(gl.SCISSOR_TEST);
  }

  /**
   * Draw the picture elsewhere than on the canvas.
   * @param {WebGLFramebuffer | null} framebuffer @param {{x: number, y: number, width: number, height: number}} place in it
   * @param {Matrix} toRays from its clip coordinates @param {number} eye 1: the right one, where there is a picture for it
   */
  drawInto(framebuffer, { x, y, width, height }, toRays, eye = 0) {
    const gl = this.#gl;
    if (!this.#shown.length) return;
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    gl.viewport(x, y, width, height);
    this.#drawPicture(toRays, eye);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    this.#drawn = "";
  }

  /** PSNR of the picture against the source in its view, over red, green and blue. */
  psnrDb() {
    const gl = this.#gl;
    const [{ view }] = this.#shown;
    const target = gl.createFramebuffer();
    const texture = this.#texture();
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
    const toRays = clipToRays(view);
    const [decoded, source] = [read(() => this.#drawPicture(toRays)), read(() => this.#drawSource(toRays))];
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.deleteFramebuffer(target);
    gl.deleteTexture(texture);
    const squares = decoded.reduce((sum, value, at) => sum + (value - source[at]) ** 2, 0); // alpha does not differ
    return 10 * Math.log10(255 ** 2 / (squares / (3 * view.width * view.height)));
  }

  /** @param {Matrix} toRays from clip coordinates @param {number} eye */
  #drawPicture(toRays, eye = 0) {
    const shown = this.#shown[eye] ?? this.#shown[0];
    if (shown.window) return this.#drawPanorama(shown.texture, shown.window, toRays);
    const gl = this.#gl;
    gl.useProgram(this.#picture.program);
    gl.uniformMatrix3fv(this.#picture.uniforms("toPicture"), true, multiply(raysToClip(shown.view), toRays));
    this.#drawTriangle(shown.texture);
  }

  /** @param {Matrix} toRays from clip coordinates */
  #drawSource(toRays) {
    this.#drawPanorama(this.#sourceTexture, this.#sourceWindow, toRays);
  }

  /** @param {WebGLTexture} texture @param {Window} window that it holds @param {Matrix} toRays from clip coordinates */
  #drawPanorama(texture, { origin, size }, toRays) {
    const gl = this.#gl;
    const { program, uniforms } = this.#panorama;
    gl.useProgram(program);
    gl.uniformMatrix3fv(uniforms("toRay"), true, toRays);
    gl.uniform2iv(uniforms("origin"), origin);
    gl.uniform2iv(uniforms("size"), size);
    this.#drawTriangle(texture);
  }

  /** @param {WebGLTexture} texture */
  #drawTriangle(texture) {
    const gl = this.#gl;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** Link a fragment shader of the whole canvas. @param {string} fragment @returns {Program} */
  program(fragment) {
    const gl = this.#gl;
    const program = gl.createProgram();
    for (const [kind, source] of /** @type {const} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]])) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    const places = new Map();
    const uniforms = (/** @type {string} */ name) => {
      if (!places.has(name)) places.set(name, gl.getUniformLocation(program, name));
      return places.get(name);
    };
    return { program, uniforms };
  }

  /** @returns {WebGLTexture} bound */
  #texture() {
    const gl = this.#gl;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const [name, value] of [
      [gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR],
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
    ]) gl.texParameteri(gl.TEXTURE_2D, name, value);
    return texture;
  }
}

/** @param {WindowPixels} picture @returns {Window} */
const windowIn = ({ window: { left, top }, panorama: { width, height } }) => ({ origin: [left, top], size: [width, height] });
