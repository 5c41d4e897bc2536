"""The control topics: JSON records by key, which every process follows."""
