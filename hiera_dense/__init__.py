"""Hiera as a backbone for detection and segmentation."""

__version__ = "0.1.0"
