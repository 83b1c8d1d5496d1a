"""Learn where contexts begin: python benchmarks/temporal/train.py VIDEO:START:FRAMES:WxH ...

Every clip is encoded at four qualities, in a random order, with contexts that go on from key to key and clip to clip;
they are left in priors.npz. Measure on other clips.
"""

import random
import sys
from dataclasses import replace

import codec
import numpy as np
from clips import frames_of, opened
from coefficients import CONTEXTS, MIXERS
from entropy import Contexts

QUALITIES = ((18.0, 8), (30.0, 4), (45.0, 8), (80.0, 16))  # steps of the root, frames between P keys


def main() -> None:
    contexts = [Contexts.fresh(CONTEXTS, MIXERS) for _ in range(3)]
    runs = [(each, quality) for each in sys.argv[1:] for quality in QUALITIES]
    random.Random(0).shuffle(runs)
    for number, (each, (step, interval)) in enumerate(runs, start=1):
        clip = frames_of(opened(each))
        settings = replace(codec.Settings(), step=step, interval=interval)
        encoder = codec.Encoder(clip, settings)
        for key in codec.key_order(len(clip), interval):
            growth = settings.growth_p * settings.growth_b ** (key.level - 1) if key.level else 1.0
            encoder.encode_key(key, step * growth, contexts[len(key.references)])
        print(f"{number} of {len(runs)}: {each}, step {step:g}", flush=True)
    names = ("probabilities", "seen", "weights")
    kept = {f"{name}{k}": getattr(each, name) for k, each in enumerate(contexts) for name in names}
    np.savez_compressed(codec.PRIORS, **kept)


if __name__ == "__main__":
    main()
