/** Run by webgpu.py, in a page. */
async ([width, height, turns]) => {
  const numbers = (count) => Array.from({ length: count }, (_, i) => Math.sin(12.9898 * i + 1).toFixed(6));
  const matrices = Array.from({ length: 36 }, (_, i) => numbers(16 * 36).slice(16 * i, 16 * i + 16).join());
  // of both languages
  const sums = (type, fetch) => Array.from({ length: 9 }, (_, tap) => {
    const [x, y] = [(tap % 3) - 1, Math.floor(tap / 3) - 1];
    return `values = ${fetch(x, y)};` + [0, 1, 2, 3].map((i) => `sum${i} += ${type}(${matrices[4 * tap + i]}) * values;`).join("");
  }).join("");
  const texels = Float32Array.from(numbers(4 * width * height), Number);

  const gl = new OffscreenCanvas(width, height).getContext("webgl2");
  gl.getExtension("EXT_color_buffer_float");
  const program = gl.createProgram();
  const compile = (kind, source) => {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, "#version 300 es\nprecision highp float;" + source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  };
  compile(gl.VERTEX_SHADER, "void main() { gl_Position = vec4(vec2(gl_VertexID % 2, gl_VertexID / 2) * 4.0 - 1.0, 0.0, 1.0); }");
  compile(gl.FRAGMENT_SHADER, `uniform sampler2D before; layout(location = 0) out vec4 outputs[4];
    void main() { ivec2 pixel = ivec2(gl_FragCoord.xy); ivec2 last = textureSize(before, 0) - 1;
      vec4 values, sum0 = vec4(0.0), sum1 = vec4(0.0), sum2 = vec4(0.0), sum3 = vec4(0.0);
      ${sums("mat4", (x, y) => `texelFetch(before, clamp(pixel + ivec2(${x}, ${y}), ivec2(0), last), 0)`)}
      outputs[0] = sum0; outputs[1] = sum1; outputs[2] = sum2; outputs[3] = sum3; }`);
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("WebGL: no program");
  gl.useProgram(program);
  const texture = () => {
    const made = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, made);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA16F, width, height);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    return made;
  };
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  const attachments = [0, 1, 2, 3].map((i) => gl.COLOR_ATTACHMENT0 + i);
  for (const each of attachments) gl.framebufferTexture2D(gl.FRAMEBUFFER, each, gl.TEXTURE_2D, texture(), 0);
  gl.drawBuffers(attachments);
  texture();
  gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, gl.RGBA, gl.FLOAT, texels);
  gl.viewport(0, 0, width, height);
  const pixel = new Float32Array(4);
  const byWebGL = async () => {
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.readBuffer(attachments[3]);
    gl.readPixels(width - 1, 5, 1, 1, gl.RGBA, gl.FLOAT, pixel);
    return [...pixel];
  };

  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) return null;
  const device = await adapter.requestDevice();
  device.onuncapturederror = ({ error }) => { throw new Error(error.message); };
  const half = (value) => { // of numbers in -1..1
    const bits = new Uint32Array(new Float32Array([value]).buffer)[0];
    const exponent = ((bits >> 23) & 255) - 112;
    return exponent <= 0 ? 0 : ((bits >> 16) & 0x8000) | (exponent << 10) | ((bits >> 13) & 0x3ff);
  };
  const { TEXTURE_BINDING, COPY_DST, COPY_SRC, RENDER_ATTACHMENT, STORAGE_BINDING } = GPUTextureUsage;
  const make = (usage) => device.createTexture({ size: [width, height], format: "rgba16float", usage });
  const before = make(TEXTURE_BINDING | COPY_DST);
  device.queue.writeTexture({ texture: before }, Uint16Array.from(texels, half), { bytesPerRow: 8 * width }, [width, height]);
  const targets = [0, 1, 2, 3].map(() => make(RENDER_ATTACHMENT | STORAGE_BINDING | COPY_SRC));
  const body = `let last = vec2i(textureDimensions(before)) - 1; var values: vec4f; var sum0: vec4f; var sum1: vec4f; var sum2: vec4f;
    var sum3: vec4f; ${sums("mat4x4f", (x, y) => `textureLoad(before, clamp(pixel + vec2i(${x}, ${y}), vec2i(0), last), 0)`)}`;
  const fragments = device.createShaderModule({ code: `@group(0) @binding(0) var before: texture_2d<f32>;
    @vertex fn corner(@builtin(vertex_index) i: u32) -> @builtin(position) vec4f {
      return vec4f(vec2f(f32(i % 2), f32(i / 2)) * 4.0 - 1.0, 0.0, 1.0); }
    struct Outputs { @location(0) a: vec4f, @location(1) b: vec4f, @location(2) c: vec4f, @location(3) d: vec4f }
    @fragment fn draw(@builtin(position) at: vec4f) -> Outputs { let pixel = vec2i(at.xy); ${body}
      return Outputs(sum0, sum1, sum2, sum3); }` });
  const drawing = device.createRenderPipeline({ layout: "auto", vertex: { module: fragments },
    fragment: { module: fragments, targets: targets.map(() => ({ format: "rgba16float" })) } });
  const stores = [0, 1, 2, 3].map((i) => `@group(0) @binding(${i + 1}) var out${i}: texture_storage_2d<rgba16float, write>;`).join("");
  const computing = device.createComputePipeline({ layout: "auto", compute: { module: device.createShaderModule({ code:
    `@group(0) @binding(0) var before: texture_2d<f32>; ${stores}
    @compute @workgroup_size(8, 8) fn draw(@builtin(global_invocation_id) id: vec3u) { let pixel = vec2i(id.xy); ${body}
      ${[0, 1, 2, 3].map((i) => `textureStore(out${i}, pixel, sum${i});`).join("")} }` }) } });
  const views = [before, ...targets].map((each, binding) => ({ binding, resource: each.createView() }));
  const group = (pipeline, entries) => device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  const [drawn, computed] = [group(drawing, views.slice(0, 1)), group(computing, views)];
  const result = device.createBuffer({ size: 256, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const float = (bits) => (bits & 0x8000 ? -1 : 1) * 2 ** (((bits >> 10) & 31) - 15) * (1 + (bits & 1023) / 1024);
  const byWebGPU = (run) => async () => {
    const encoder = device.createCommandEncoder();
    run(encoder);
    encoder.copyTextureToBuffer({ texture: targets[3], origin: [width - 1, 5] }, { buffer: result, bytesPerRow: 256 }, [1, 1]);
    device.queue.submit([encoder.finish()]);
    await result.mapAsync(GPUMapMode.READ);
    const values = [...new Uint16Array(result.getMappedRange(0, 8))].map(float);
    result.unmap();
    return values;
  };
  const ways = {
    "WebGL 2, fragments": byWebGL,
    "WebGPU, fragments": byWebGPU((encoder) => {
      const colorAttachments = targets.map((each) => ({ view: each.createView(), loadOp: "clear", storeOp: "store" }));
      const pass = encoder.beginRenderPass({ colorAttachments });
      pass.setPipeline(drawing);
      pass.setBindGroup(0, drawn);
      pass.draw(3);
      pass.end();
    }),
    "WebGPU, compute": byWebGPU((encoder) => {
      const pass = encoder.beginComputePass();
      pass.setPipeline(computing);
      pass.setBindGroup(0, computed);
      pass.dispatchWorkgroups(Math.ceil(width / 8), Math.ceil(height / 8));
      pass.end();
    }),
  };
  const found = Object.fromEntries(Object.keys(ways).map((name) => [name, { milliseconds: [] }]));
  for (let turn = -2; turn < turns; turn++)
    for (const [name, draw] of Object.entries(ways)) {
      const began = performance.now();
      found[name].values = await draw();
      if (turn >= 0) found[name].milliseconds.push(performance.now() - began);
    }
  return { adapter: adapter.info.architecture, found };
}
