const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** The checksum of PNG and zip. @param {Uint8Array} data */
export function crc32(data) {
  let value = 0xffffffff;
  for (let i = 0; i < data.length; i++) value = TABLE[(value ^ data[i]) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
