// nerv360-grid, pass by pass (docs/bitstream.md, "Forward pass of nerv360-grid"). A program is compiled with one of MOTION,
// STAGE, CONVOLUTION and HEAD, with the sizes that it names, and with WEIGHTS and BIAS as literals: some compilers multiply
// by them in half the time that uniforms take. For the same reason there are no loops: what stands between `#repeat NAME SIZE`
// and `#end` is repeated before it is compiled, with NAME being 0, 1, .... Texels hold four channels; an array of them has as
// many layers as it takes, then the picture. Row 0 is the top one everywhere.

#if defined(MOTION) || defined(STAGE)

uniform mat3 toRay; // from a pixel of this pass

// The angle of (x, y) from the x axis, to 4e-8 radians and rounding: GLSL leaves open how exact atan is.
float angleOf(float y, float x) {
  vec2 sides = abs(vec2(x, y));
  float t = min(sides.x, sides.y) / max(max(sides.x, sides.y), 1e-30);
  float s = t * t;
  float angle = t * (0.99999934 + s * (-0.33329861 + s * (0.19946566 + s * (-0.13908629
    + s * (0.09642197 + s * (-0.05591232 + s * (0.02186295 - s * 0.00405457)))))));
  if (sides.y > sides.x) angle = 1.57079633 - angle;
  if (x < 0.0) angle = 3.14159265 - angle;
  return y < 0.0 ? -angle : angle;
}

// Where this pixel's ray meets the panorama: 0..1 from its left and its top edge.
vec2 positionOnPanorama() {
  vec3 ray = toRay * vec3(gl_FragCoord.xy, 1.0);
  return vec2(angleOf(ray.x, ray.z), -angleOf(ray.y, length(ray.xz))) * vec2(0.15915494, 0.31830989) + 0.5;
}

vec2 sizeOf(sampler2DArray grid) {
  return vec2(textureSize(grid, 0).xy - ivec2(0, 2)); // without the rows beyond the poles
}

// A bilinear sample. Columns go round by the texture's wrapping; beyond a pole the grid goes on half a turn away.
vec4 sampleGrid(sampler2DArray grid, vec2 at, int layer) {
  float rows = sizeOf(grid).y;
  float column = at.x + (at.y < 0.0 || at.y > 1.0 ? 0.5 : 0.0);
  float row = 1.0 - abs(1.0 - abs(at.y));
  return textureLod(grid, vec3(column, (row * rows + 1.0) / (rows + 2.0), float(layer)), 0.0);
}

#endif

#ifdef MOTION

uniform sampler2DArray first, second; // keys around the frame
uniform vec2 blend; // weights of both
layout(location = 0) out vec4 field; // velocity right and down, and its change

void main() {
  vec2 at = positionOnPanorama();
  field = blend.x * sampleGrid(first, at, 0) + blend.y * sampleGrid(second, at, 0);
}

#endif

#ifdef STAGE
// FEATURES: texels of features a pixel. CELL: pixels of this pass to a cell of the motion field. LAYERS: of all grids that
// enter. STRIDE: of the convolution before, if there is one.

layout(location = 0) out vec4 outputs[FEATURES + 1];
vec4 features[FEATURES];
vec4 picture;

#ifdef STRIDE
uniform sampler2DArray convolved; // every phase of a block of STRIDE x STRIDE pixels behind the other
uniform sampler2DArray before; // what the stage before has drawn
#else
const vec4 bias[] = BIAS;
#endif

#if LAYERS > 0
uniform sampler2DArray firsts[LAYERS], seconds[LAYERS]; // keys around the frame
uniform vec4 keys[LAYERS]; // weights of both, frames since both
uniform int layers[LAYERS]; // of the textures
const mat4 weights[] = WEIGHTS; // of every layer: to features, then to the picture

#ifdef MOVING
uniform sampler2DArray motion;
vec4 velocities[4]; // of the cells of the motion field around this pixel
vec2 part; // of the way from the first to the last of them

void readMotion() {
  ivec2 last = textureSize(motion, 0).xy - 1;
  vec2 at = clamp(gl_FragCoord.xy / float(CELL) - 0.5, vec2(0.0), vec2(last));
  ivec2 near = ivec2(at);
  ivec2 far = min(near + 1, last);
  part = at - vec2(near);
  velocities[0] = texelFetch(motion, ivec3(near, 0), 0);
  velocities[1] = texelFetch(motion, ivec3(far.x, near.y, 0), 0);
  velocities[2] = texelFetch(motion, ivec3(near.x, far.y, 0), 0);
  velocities[3] = texelFetch(motion, ivec3(far, 0), 0);
}

// Cells of the motion field that content has moved by since a key so many frames before.
vec2 movedBy(vec4 velocity, float frames) {
  return clamp((velocity.xy + sign(frames) * velocity.zw) * (frames / 48.0), -1.0, 1.0);
}

vec2 displacement(float frames) {
  return mix(
    mix(movedBy(velocities[0], frames), movedBy(velocities[1], frames), part.x),
    mix(movedBy(velocities[2], frames), movedBy(velocities[3], frames), part.x),
    part.y) * float(CELL);
}
#else
vec2 displacement(float frames) {
  return vec2(0.0);
}
#endif

// A layer of a grid: its keys, motion-compensated and blended.
vec4 blended(sampler2DArray first, sampler2DArray second, vec4 key, vec2 at, int layer) {
  vec2 size = sizeOf(first);
  vec4 values = key.x * sampleGrid(first, at - (key.z == 0.0 ? vec2(0.0) : displacement(key.z) / size), layer);
  if (key.y > 0.0) values += key.y * sampleGrid(second, at - displacement(key.w) / size, layer);
  return values;
}
#endif

void main() {
#ifdef STRIDE
  ivec2 pixel = ivec2(gl_FragCoord.xy);
  ivec2 block = pixel / STRIDE;
  int phase = (pixel.y - block.y * STRIDE) * STRIDE + pixel.x - block.x * STRIDE;
#repeat J FEATURES
  features[J] = texelFetch(convolved, ivec3(block, phase * FEATURES + J), 0);
#end
  ivec3 size = textureSize(before, 0);
  picture = textureLod(before, vec3(gl_FragCoord.xy / vec2(size.xy * STRIDE), float(size.z - 1)), 0.0); // upsampled
#else
#repeat J FEATURES
  features[J] = bias[J];
#end
  picture = vec4(0.0);
#endif

#if LAYERS > 0
#ifdef MOVING
  readMotion();
#endif
  vec2 at = positionOnPanorama();
  vec4 values;
#repeat LAYER LAYERS
  values = blended(firsts[LAYER], seconds[LAYER], keys[LAYER], at, layers[LAYER]);
#repeat J FEATURES
  features[J] += weights[LAYER * (FEATURES + 1) + J] * values;
#end
  picture += weights[LAYER * (FEATURES + 1) + FEATURES] * values;
#end
#endif

#repeat J FEATURES
  outputs[J] = sin(features[J]);
#end
  outputs[FEATURES] = picture;
}

#endif

#if defined(CONVOLUTION) || defined(HEAD)
// FEATURES: texels that come in. KERNEL: its side. TARGETS: texels that come out.

uniform sampler2DArray before; // what the stage before has drawn
const mat4 weights[] = WEIGHTS; // of every tap, every texel that comes in, every one that comes out
const vec4 bias[] = BIAS;
layout(location = 0) out vec4 outputs[TARGETS];
vec4 sums[TARGETS];

void convolve(ivec2 pixel) {
  ivec2 last = textureSize(before, 0).xy - 1;
  ivec2 there;
  vec4 values;
#repeat I TARGETS
  sums[I] = bias[I];
#end
#repeat ROW KERNEL
#repeat COLUMN KERNEL
  there = clamp(pixel + ivec2(COLUMN, ROW) - KERNEL / 2, ivec2(0), last);
#repeat J FEATURES
  values = texelFetch(before, ivec3(there, J), 0);
#repeat I TARGETS
  sums[I] += weights[((ROW * KERNEL + COLUMN) * FEATURES + J) * TARGETS + I] * values;
#end
#end
#end
#end
}

#endif

#ifdef CONVOLUTION

void main() {
  convolve(ivec2(gl_FragCoord.xy));
#repeat I TARGETS
  outputs[I] = sums[I];
#end
}

#endif

#ifdef HEAD

uniform int height; // of the view, whose row 0 is the last of the canvas

void main() {
  ivec2 pixel = ivec2(gl_FragCoord.x, float(height) - gl_FragCoord.y);
  convolve(pixel);
  vec4 picture = sums[0] + texelFetch(before, ivec3(pixel, FEATURES), 0);
  outputs[0] = vec4(tanh(clamp(picture.rgb, -9.0, 9.0)) * 0.5 + 0.5, 1.0);
}

#endif
