"""Entropy coding: probability tables, the range coder, and a differentiable estimate of the bits that it will take."""
