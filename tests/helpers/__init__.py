"""What tests of several files use."""
