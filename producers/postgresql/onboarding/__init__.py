"""What onboarding asks of a department's PostgreSQL before anything is captured from it."""
