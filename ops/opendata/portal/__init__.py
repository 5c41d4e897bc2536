"""The open data portal (数据统一开放平台) as pages for the public: what the API says, for people who come without an account.

The frame is the console's (ops/console/frame); answers are the API's own (ops/opendata/answers.py), so that a page shows nothing that
is not published. Nothing is kept of who looks: a browser keeps the language and the look that somebody chose, and no more.
"""
