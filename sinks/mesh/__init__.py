"""Another mesh as a sink: it comes and reads its topics itself."""
