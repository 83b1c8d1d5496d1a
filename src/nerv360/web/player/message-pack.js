/** MessagePack, as far as headers and sound use it. */

import { ByteReader } from "./byte-reader.js";
import { BrokenFile } from "./errors.js";

/** Read one value. @param {ByteReader} bytes @returns {any} */
export function readMessagePack(bytes) {
  const tag = bytes.byte();
  if (tag < 0x80) return tag;
  if (tag >= 0xe0) return tag - 256;
  if (tag >= 0xa0 && tag < 0xc0) return text(bytes.take(tag & 31));
  if (tag >= 0x90 && tag < 0xa0) return array(bytes, tag & 15);
  switch (tag) {
    case 0xc0: return null;
    case 0xc2: return false;
    case 0xc3: return true;
    case 0xc4: return bytes.take(bytes.byte());
    case 0xc5: return bytes.take(bytes.view(2).getUint16(0));
    case 0xc6: return bytes.take(bytes.view(4).getUint32(0));
    case 0xca: return bytes.view(4).getFloat32(0);
    case 0xcb: return bytes.view(8).getFloat64(0);
    case 0xcc: return bytes.byte();
    case 0xcd: return bytes.view(2).getUint16(0);
    case 0xce: return bytes.view(4).getUint32(0);
    case 0xcf: return Number(bytes.view(8).getBigUint64(0));
    case 0xd0: return bytes.view(1).getInt8(0);
    case 0xd1: return bytes.view(2).getInt16(0);
    case 0xd2: return bytes.view(4).getInt32(0);
    case 0xd3: return Number(bytes.view(8).getBigInt64(0));
    case 0xd9: return text(bytes.take(bytes.byte()));
    case 0xdc: return array(bytes, bytes.view(2).getUint16(0));
    case 0xdd: return array(bytes, bytes.view(4).getUint32(0));
    default: throw new BrokenFile("The file is damaged: an impossible header.");
  }
}

const text = (/** @type {Uint8Array} */ data) => new TextDecoder().decode(data);

function array(/** @type {ByteReader} */ bytes, /** @type {number} */ count) {
  const values = [];
  for (let i = 0; i < count; i++) values.push(readMessagePack(bytes));
  return values;
}
