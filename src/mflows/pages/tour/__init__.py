"""A tour: a page on which one walks through a learned manifold, and what answers it.

guide    what a run knows of any coordinates, point or walk
grid     the same of a grid of coordinates, for a page without a server
page     the page as one HTML file; its script is tour.js
server   the page and its guide, served to this machine alone
"""

from mflows.pages.tour.guide import Guide
from mflows.pages.tour.page import html, write

__all__ = ["Guide", "html", "write"]
