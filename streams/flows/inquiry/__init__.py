"""Inquiry (查询): what registers know of the members of a household, for a case that may ask; no system of its own.

    sources.csv ──▶ Sources ──▶ inputs(), folds() for persons and names
    case ──questions──▶ person, name ──evidence──▶ case ──cells_of──▶ one cell per member and source ──judge──▶ answers of `ask`

A flow that checks people (household check, price-capped housing) brings a table of sources and a fold of its case.
"""
