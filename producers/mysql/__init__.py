"""Source kind `mysql`: a database of MariaDB, followed through its binary log by global transaction ids (RULES.md, MY).

MySQL itself is refused: its log was never read here.
"""
