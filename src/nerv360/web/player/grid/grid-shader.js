/** Draws views of nerv360-grid by WebGL 2: the passes of a segment, with the keys around a frame as textures. */

import { focal, multiply } from "../geometry.js";
import { Unsupported } from "../errors.js";
import { allPasses, texelsOf } from "./passes.js";

/**
 * @typedef {import("../geometry.js").Matrix} Matrix
 * @typedef {import("../geometry.js").Viewport} Viewport
 * @typedef {import("./passes.js").ConvolutionPass} ConvolutionPass
 * @typedef {import("./passes.js").Pass} Pass
 * @typedef {import("./passes.js").Passes} Passes
 * @typedef {import("./passes.js").StagePass} StagePass
 * @typedef {{texture: WebGLTexture, weight: number, distance: number}} Key around a frame; distance: frames since the key
 * @typedef {(name: string) => WebGLUniformLocation | null} Uniforms of the program in use
 * @typedef {{texture: WebGLTexture, width: number, height: number, framebuffers: WebGLFramebuffer[]}} Layers an array that is drawn
 *   to; framebuffers: of its layers, as many as are drawn at once
 * @typedef {{size: string, motion: Layers, first: Layers, stages: {convolved: Layers, entered: Layers}[]}} Targets of views of a size
 */

const VERTEX = `#version 300 es
void main() {
  gl_Position = vec4(vec2(gl_VertexID % 2, gl_VertexID / 2) * 4.0 - 1.0, 0.0, 1.0);
}`;
const PREFIX = "#version 300 es\nprecision highp float;\nprecision highp int;\nprecision highp sampler2DArray;\n";
/** @type {Record<number, string>} */
const WHY = { 0x501: "it is too small", 0x505: "it has too little memory", 0x506: "it does not draw to such textures" }; // by errors of WebGL
const POLL_MS = 4; // while programs are compiled

export class GridShader {
  /** @type {WebGL2RenderingContext} */ #gl;
  /** @type {OffscreenCanvas} */ #canvas;
  /** @type {Map<Pass, {program: WebGLProgram, uniforms: Uniforms}>} */ #programs = new Map();
  /** @type {Targets | null} */ #targets = null;

  /** Throws Unsupported where this browser's WebGL cannot do it. @param {string} source of the shaders */
  constructor(source) {
    if (typeof OffscreenCanvas === "undefined") throw new Unsupported("This browser has no WebGL 2 in workers.");
    this.source = source;
    this.#canvas = new OffscreenCanvas(1, 1);
    const gl = this.#canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false });
    if (!gl) throw new Unsupported("This browser has no WebGL 2 in workers.");
    if (!gl.getExtension("EXT_color_buffer_float") && !gl.getExtension("EXT_color_buffer_half_float"))
      throw new Unsupported("This browser's WebGL 2 does not draw half floats.");
    this.#gl = gl;
  }

  /** Compile the passes of a segment. Throws Unsupported where that fails. @param {Passes} passes */
  async compile(passes) {
    const gl = this.#gl;
    const programs = allPasses(passes).map((pass) => this.#compile(pass));
    const parallel = gl.getExtension("KHR_parallel_shader_compile");
    const compiled = (/** @type {WebGLProgram} */ program) => !parallel || gl.getProgramParameter(program, parallel.COMPLETION_STATUS_KHR);
    while (!programs.every(compiled)) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    for (const program of programs) this.#check(program);
  }

  /** Forget a segment. @param {Passes} passes */
  release(passes) {
    for (const pass of allPasses(passes)) {
      this.#gl.deleteProgram(this.#programs.get(pass)?.program ?? null);
      this.#programs.delete(pass);
    }
  }

  /**
   * A key of a latent as a texture, with a row beyond each pole. Throws Unsupported where it is too large for one.
   * @param {Float32Array} values [channel][row][column] @param {{channels: number, rows: number, columns: number}} latent
   */
  upload(values, { channels, rows, columns }) {
    const gl = this.#gl;
    const side = gl.getParameter(gl.MAX_TEXTURE_SIZE) ?? Infinity; // null: the context is lost
    if (Math.max(columns, rows + 2) > side) throw new Unsupported(`This graphics processor is too small: ${side} of ${columns} cells across.`);
    const [layers, width] = [texelsOf(channels), channels > 2 ? 4 : channels];
    const texture = this.#createTexture(gl.REPEAT);
    const format = [gl.RED, gl.RG, gl.RGBA, gl.RGBA][width - 1];
    gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, [gl.R16F, gl.RG16F, gl.RGBA16F, gl.RGBA16F][width - 1], columns, rows + 2, layers);
    for (let layer = 0; layer < layers; layer++) {
      const texels = interleave(values.subarray(4 * layer * rows * columns), width, rows, columns);
      gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, layer, columns, rows + 2, 1, format, gl.FLOAT, texels);
    }
    return texture;
  }

  /** @param {WebGLTexture} texture */
  free(texture) {
    this.#gl.deleteTexture(texture);
  }

  /**
   * Draw a view; null where the context is lost. Throws Unsupported where the graphics processor cannot do it.
   * @param {Passes} passes @param {Key[][]} keys one or two of every latent @param {Viewport} view
   * @param {Matrix} camera camera-to-world, of the view in the world of the latents
   */
  draw(passes, keys, view, camera) {
    const gl = this.#gl;
    const targets = this.#targetsOf(passes, view);
    const toRay = (/** @type {number} */ cell) => multiply(camera, pixelsToRays(view, cell));
    if (passes.motion) this.#drawMotion(passes.motion, keys[passes.motion.latent], toRay(passes.totalStride), targets.motion);
    this.#drawStage(passes.first, keys, toRay(passes.totalStride), {}, targets.motion, targets.first);
    let before = targets.first;
    passes.stages.forEach(({ convolutions, entering }, i) => {
      const { convolved, entered } = targets.stages[i];
      convolutions.forEach((pass, batch) => this.#drawConvolution(pass, before, convolved, batch));
      const behind = { convolved: [convolved.texture], before: [before.texture] };
      this.#drawStage(entering, keys, toRay(entering.cell), behind, targets.motion, entered);
      before = entered;
    });
    this.#drawHead(passes.head, before, view);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)); // waits until it is drawn
    const error = gl.getError();
    if (gl.isContextLost()) return null;
    if (error) throw new Unsupported(`This graphics processor cannot draw it: ${WHY[error] ?? `error ${error}`}.`);
    return this.#canvas.transferToImageBitmap();
  }

  /** @param {Pass} pass @param {Key[]} keys of the motion field @param {Matrix} toRay @param {Layers} target */
  #drawMotion(pass, [first, second = { ...first, weight: 0 }], toRay, target) {
    const gl = this.#gl;
    const uniforms = this.#use(pass);
    this.#bind(uniforms, { first: [first.texture], second: [second.texture] });
    gl.uniformMatrix3fv(uniforms("toRay"), true, toRay);
    gl.uniform2f(uniforms("blend"), first.weight, second.weight);
    this.#drawTo(target, 0);
  }

  /**
   * @param {StagePass} pass @param {Key[][]} keys of every latent @param {Matrix} toRay
   * @param {Record<string, WebGLTexture[]>} behind what comes from the stage before @param {Layers} motion @param {Layers} target
   */
  #drawStage(pass, keys, toRay, behind, motion, target) {
    const gl = this.#gl;
    const uniforms = this.#use(pass);
    const pairs = pass.layers.map(({ latent }) => ({ first: keys[latent][0], second: keys[latent][1] ?? { ...keys[latent][0], weight: 0 } }));
    this.#bind(uniforms, {
      ...behind,
      ...(pass.layers.length ? { firsts: pairs.map(({ first }) => first.texture), seconds: pairs.map(({ second }) => second.texture) } : {}),
      ...(pass.moving ? { motion: [motion.texture] } : {}),
    });
    gl.uniformMatrix3fv(uniforms("toRay"), true, toRay);
    if (pass.layers.length) {
      gl.uniform1iv(uniforms("layers"), pass.layers.map(({ layer }) => layer));
      gl.uniform4fv(uniforms("keys"), pairs.flatMap(({ first, second }) => [first.weight, second.weight, first.distance, second.distance]));
    }
    this.#drawTo(target, 0);
  }

  /** @param {ConvolutionPass} pass @param {Layers} before @param {Layers} target @param {number} batch */
  #drawConvolution(pass, before, target, batch) {
    this.#bind(this.#use(pass), { before: [before.texture] });
    this.#drawTo(target, batch);
  }

  /** Draw the picture on the canvas. @param {Pass} pass @param {Layers} before @param {Viewport} view */
  #drawHead(pass, before, { width, height }) {
    const gl = this.#gl;
    const uniforms = this.#use(pass);
    this.#bind(uniforms, { before: [before.texture] });
    gl.uniform1i(uniforms("height"), height);
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** @param {Layers} layers @param {number} batch of them */
  #drawTo({ width, height, framebuffers }, batch) {
    const gl = this.#gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffers[batch]);
    gl.viewport(0, 0, width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** Bind textures to samplers. @param {Uniforms} uniforms @param {Record<string, WebGLTexture[]>} samplers */
  #bind(uniforms, samplers) {
    const gl = this.#gl;
    let unit = 0;
    for (const [name, textures] of Object.entries(samplers)) {
      gl.uniform1iv(uniforms(name), textures.map((_, i) => unit + i));
      for (const texture of textures) {
        gl.activeTexture(gl.TEXTURE0 + unit++);
        gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
      }
    }
    gl.activeTexture(gl.TEXTURE0);
  }

  /** @param {Pass} pass that is compiled @returns {Uniforms} */
  #use(pass) {
    const { program, uniforms } = /** @type {{program: WebGLProgram, uniforms: Uniforms}} */ (this.#programs.get(pass));
    this.#gl.useProgram(program);
    return uniforms;
  }

  /** Begin to compile a program. @param {Pass} pass */
  #compile(pass) {
    const gl = this.#gl;
    const named = Object.entries(pass.defines).map(([name, value]) => `#define ${name} ${value}\n`).join("");
    const program = gl.createProgram();
    for (const [kind, source] of /** @type {const} */ ([[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, PREFIX + named + unroll(this.source, pass.defines)]])) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    /** @type {Map<string, WebGLUniformLocation | null>} */
    const locations = new Map();
    const uniforms = (/** @type {string} */ name) => {
      const location = locations.get(name) ?? gl.getUniformLocation(program, name);
      locations.set(name, location);
      return location;
    };
    this.#programs.set(pass, { program, uniforms });
    return program;
  }

  /** @param {WebGLProgram} program */
  #check(program) {
    const gl = this.#gl;
    if (gl.getProgramParameter(program, gl.LINK_STATUS) || gl.isContextLost()) return;
    const logs = [gl.getProgramInfoLog(program), ...(gl.getAttachedShaders(program) ?? []).map((shader) => gl.getShaderInfoLog(shader))];
    throw new Unsupported(`A shader does not compile here: ${logs.filter(Boolean).join(" ").slice(0, 200)}`);
  }

  /** What is drawn to for views of this size; that of another size before is given back. @param {Passes} passes @param {Viewport} view */
  #targetsOf({ totalStride, first, stages }, { width, height }) {
    const features = [first, ...stages.map(({ entering }) => entering)].map((pass) => pass.features);
    const size = JSON.stringify([width, height, totalStride, features, stages.map(({ stride }) => stride)]);
    if (this.#targets?.size === size) return this.#targets;
    for (const layers of this.#targets ? allOf(this.#targets) : []) this.#freeLayers(layers);
    let [columns, rows] = [Math.ceil(width / totalStride), Math.ceil(height / totalStride)];
    /** @type {Targets} */
    const targets = { size, motion: this.#createLayers(columns, rows, [1]), first: this.#createLayers(columns, rows, [features[0] + 1]), stages: [] };
    stages.forEach(({ stride, convolutions }, i) => {
      const convolved = this.#createLayers(columns, rows, convolutions.map((pass) => pass.targets));
      [columns, rows] = [columns * stride, rows * stride];
      targets.stages.push({ convolved, entered: this.#createLayers(columns, rows, [features[i + 1] + 1]) });
    });
    return (this.#targets = targets);
  }

  /** An array that is drawn to in batches of so many layers. @param {number} width @param {number} height @param {number[]} batches @returns {Layers} */
  #createLayers(width, height, batches) {
    const gl = this.#gl;
    const texture = this.#createTexture(gl.CLAMP_TO_EDGE);
    gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.RGBA16F, width, height, batches.reduce((sum, count) => sum + count, 0));
    let layer = 0;
    const framebuffers = batches.map((count) => {
      const framebuffer = gl.createFramebuffer();
      gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
      const attachments = Array.from({ length: count }, (_, i) => gl.COLOR_ATTACHMENT0 + i);
      for (const attachment of attachments) gl.framebufferTextureLayer(gl.FRAMEBUFFER, attachment, texture, 0, layer++);
      gl.drawBuffers(attachments);
      return framebuffer;
    });
    return { texture, width, height, framebuffers };
  }

  /** @param {Layers} layers */
  #freeLayers({ texture, framebuffers }) {
    for (const framebuffer of framebuffers) this.#gl.deleteFramebuffer(framebuffer);
    this.#gl.deleteTexture(texture);
  }

  /** Bound. @param {number} wrap columns @returns {WebGLTexture} */
  #createTexture(wrap) {
    const gl = this.#gl;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
    for (const [name, value] of [
      [gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR],
      [gl.TEXTURE_WRAP_S, wrap], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
    ]) gl.texParameteri(gl.TEXTURE_2D_ARRAY, name, value);
    return texture;
  }
}

/** @param {Targets} targets */
const allOf = ({ motion, first, stages }) => [motion, first, ...stages.flatMap(({ convolved, entered }) => [convolved, entered])];

/** From the pixels of a picture of cells, whose first is at the top left, to rays of the camera. @param {Viewport} view @param {number} cell @returns {Matrix} */
function pixelsToRays(view, cell) {
  const { fx, fy } = focal(view);
  return [cell / fx, 0, -view.width / 2 / fx, 0, -cell / fy, view.height / 2 / fy, 0, 0, 1];
}

/**
 * The texels of a layer, with a row beyond each pole: half a turn away from the outermost.
 * @param {Float32Array} planes channel behind channel, which may be fewer than those of a texel @param {number} width numbers of a texel
 * @param {number} rows @param {number} columns
 */
function interleave(planes, width, rows, columns) {
  const texels = new Float32Array(width * (rows + 2) * columns);
  for (let channel = 0; channel < Math.min(width, planes.length / (rows * columns)); channel++)
    for (let row = -1; row <= rows; row++) {
      const beyond = row < 0 || row === rows;
      const from = (channel * rows + Math.min(Math.max(row, 0), rows - 1)) * columns;
      const turn = beyond ? columns / 2 : 0;
      for (let column = 0, to = (row + 1) * columns * width + channel; column < columns; column++, to += width)
        texels[to] = planes[from + ((column + turn) % columns)];
    }
  return texels;
}

/**
 * The source with its repetitions written out.
 * @param {string} source @param {Record<string, number | string>} sizes
 */
function unroll(source, sizes) {
  const lines = source.split("\n");
  /** @returns {string[]} */
  const block = () => {
    const found = [];
    for (let line = lines.shift(); line !== undefined && line !== "#end"; line = lines.shift()) {
      const [word, name, size] = line.split(" ");
      if (word !== "#repeat") found.push(line);
      else {
        const body = block();
        for (let i = 0; i < Number(sizes[size] ?? 0); i++) found.push(`#define ${name} ${i}`, ...body, `#undef ${name}`);
      }
    }
    return found;
  };
  return block().join("\n");
}
