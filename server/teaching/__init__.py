"""Tutorials run: their calls answered, their prose filled with figures, taught at a terminal, printed as pages."""

from mlwalls.server.teaching.figures import FigureError, Figures, filler

__all__ = ["FigureError", "Figures", "filler"]
