/** The tensors of a network in a file, by name and in their order. */

/** @typedef {import("../segments.js").NetworkHeader & {latents: import("../segments.js").Latent[]}} Network */

const product = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a * b, 1);

/** Names and shapes of weight and bias of a layer. @returns {[string, number[]][]} */
const layer = (/** @type {string} */ name, /** @type {number[]} */ ...shape) => [[`${name}.weight`, shape], [`${name}.bias`, [shape[0]]]];

/** @param {Network} network @returns {Map<string, number[]>} name -> shape */
export function tensorShapes(network) {
  const { model, channels } = network;
  const layers = model === "nerv360-grid" ? gridLayers(network) : paperLayers(network);
  return new Map([...layers, ...layer("head", 3, channels[channels.length - 1], 3, 3)]);
}

/** @param {Network} network @returns {[string, number[]][]} */
function gridLayers({ channels, strides, kernels, latents }) {
  const content = latents.filter(({ motion }) => !motion);
  /** Channels of the latents that enter at a stride. */
  const entering = (/** @type {number} */ stride) => content.reduce((sum, latent) => sum + (latent.stride === stride ? latent.channels : 0), 0);
  const first = entering(product(strides));
  return [
    ...layer("expand", channels[0], first, 1, 1),
    ["to_rgb.weight", [3, first, 1, 1]],
    ...strides.flatMap((stride, i) => {
      const conv = layer(`stages.${i}.conv`, channels[i + 1] * stride ** 2, channels[i], kernels[i], kernels[i]);
      const here = entering(product(strides.slice(i + 1)));
      if (!here) return conv;
      return [...conv, shape(`stages.${i}.project.weight`, channels[i + 1], here, 1, 1), shape(`stages.${i}.to_rgb.weight`, 3, here, 1, 1)];
    }),
  ];
}

/** @returns {[string, number[]]} */
const shape = (/** @type {string} */ name, /** @type {number[]} */ ...sizes) => [name, sizes];

/** @param {Network} network @returns {[string, number[]][]} */
function paperLayers({ channels, strides, kernels, embeddingChannels, conditions, frequencies, lastBlock }) {
  const stem = (/** @type {string} */ name, /** @type {number} */ inputs) => [
    ...layer(`${name}.hidden`, 64, 2 * frequencies * inputs), ...layer(`${name}.output`, 32, 64),
  ];
  return [
    ...stem("time_stem", 1),
    ...stem("view_stem", 1 + conditions.length),
    ...layer("expand.block.conv", channels[0], embeddingChannels, 1, 1),
    ...residualBlock("expand.residual", channels[0]),
    ...strides.flatMap((stride, i) => {
      const conv = layer(`stages.${i}.block.conv`, channels[i + 1] * stride ** 2, channels[i], kernels[i], kernels[i]);
      const block = i === strides.length - 1 ? lastBlock : "full";
      if (block === "none") return conv;
      return [...conv, ...residualBlock(`stages.${i}.residual`, block === "half" ? channels[i] : channels[i + 1])];
    }),
  ];
}

/** @param {string} name @param {number} width @returns {[string, number[]][]} */
function residualBlock(name, width) {
  return [0, 1].flatMap((half) => [
    ...["scale", "shift"].flatMap((branch) => [
      ...layer(`${name}.affine${half}.${branch}.0`, 32, 32), ...layer(`${name}.affine${half}.${branch}.2`, width, 32),
    ]),
    ...layer(`${name}.conv${half}`, width, width, 3, 3),
  ]);
}
