"""What a file is worth: quality, rate, speed."""
