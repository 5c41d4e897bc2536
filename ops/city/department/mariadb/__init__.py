"""Departments' databases on MariaDB."""
