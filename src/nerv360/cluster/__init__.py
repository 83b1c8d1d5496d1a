"""Long videos: segments, encoded one by one, by the processes of one machine, or on a Ray cluster."""
