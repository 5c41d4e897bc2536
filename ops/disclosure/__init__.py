"""Disclosure (披露): who received what of one person or organisation, from what stands on the `out` topics; for `mesh access`."""
