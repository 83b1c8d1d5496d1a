"""Video files to frames and back; procedural clips."""
