"""Objectives: what a phase minimises, one idea per file."""
