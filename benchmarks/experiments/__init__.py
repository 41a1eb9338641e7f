"""Experiments of papers, at a small scale, a module for each method; ``benchmarks/papers.py`` runs them."""
