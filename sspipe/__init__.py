"""sspipe: how well can buildings be mapped from radar by a network that saw optical images only in its training?"""

__version__ = "0.1.0"
