"""Colours that people tell apart however they see colours (Okabe and Ito, Color Universal Design, 2008)."""

from __future__ import annotations

BLUE, VERMILION = "#0072b2", "#d55e00"
SKY, ORANGE, GREEN, PURPLE, YELLOW = "#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442"
CURVES = (VERMILION, BLUE, GREEN, ORANGE, PURPLE, SKY, "#000000", YELLOW)  # in this order
