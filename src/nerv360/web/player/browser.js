/** Frames that this browser decodes itself, in a worker. */

import { Unsupported } from "./errors.js";

export class BrowserBackend {
  static async open() {
    throw new Unsupported("not yet");
  }
}
