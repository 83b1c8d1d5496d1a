/** Sound of all directions (AmbiX: W, Y, Z, X, ...) for two ears, as two cardioids that turn with the view. */

export class Ambisonics {
  /** @param {AudioContext} context @param {AudioNode} output */
  constructor(context, output) {
    const gain = (/** @type {number} */ value) => new GainNode(context, { gain: value });
    this.input = new ChannelSplitterNode(context, { numberOfOutputs: 4 });
    this.ahead = gain(0); // of X, and of Y, which points to the left
    this.aside = gain(0.5);
    const [all, left, right, ears] = [gain(0.5), gain(1), gain(-1), new ChannelMergerNode(context, { numberOfInputs: 2 })];
    this.input.connect(all, 0);
    this.input.connect(this.aside, 1);
    this.input.connect(this.ahead, 3);
    for (const side of [this.ahead, this.aside]) {
      side.connect(left);
      side.connect(right);
    }
    all.connect(ears, 0, 0);
    all.connect(ears, 0, 1);
    left.connect(ears, 0, 0);
    right.connect(ears, 0, 1);
    ears.connect(output);
  }

  /** @param {number} yawDeg to the right */
  turn(yawDeg) {
    const yaw = (yawDeg * Math.PI) / 180;
    this.ahead.gain.value = 0.5 * Math.sin(yaw);
    this.aside.gain.value = 0.5 * Math.cos(yaw);
  }
}
