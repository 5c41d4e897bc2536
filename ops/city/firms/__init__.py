"""The city's firms: registrations, taxes, papers, credit."""
