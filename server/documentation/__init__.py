"""The documentation's generated pages: tools, walls, tutorials, paths, accuracy, index."""

from mlwalls.server.documentation.site import pages

__all__ = ["pages"]
