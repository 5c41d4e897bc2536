"""Departments' databases on PostgreSQL."""
