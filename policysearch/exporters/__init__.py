"""Exporters: what was found and recorded, in the formats of other programs."""
