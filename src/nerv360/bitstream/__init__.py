"""The .nerv360 file as bytes and integers (docs/bitstream.md). No torch in here."""
