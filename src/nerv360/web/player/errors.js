/** What can stand between a viewer and the picture; the page has a screen for each. */

export class PlayerError extends Error {
  /** @type {"unsupported" | "broken" | "gone"} */
  kind = "broken";
}

export class BrokenFile extends PlayerError {
  kind = /** @type {const} */ ("broken");
}

export class Unsupported extends PlayerError {
  kind = /** @type {const} */ ("unsupported");
}

export class ServerGone extends PlayerError {
  kind = /** @type {const} */ ("gone");
  /** @param {string} why if that is known */
  constructor(why = "") {
    super(why || "The server does not answer.");
  }
}
