"""What a file is worth: its quality and its rate, beside classical codecs."""
