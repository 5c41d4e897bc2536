"""Open data: the portal's API (数据统一开放平台, HANDBOOK §4 K) over HTTP, beside the mesh.

    open.* feeds ──▶ Follow ──▶ Store (one SQLite file) ──▶ Answers, files, dcat ──▶ server (HTTP)
                                                                  └──▶ portal/ (pages) ──┘

Nothing but the open feeds is read, so nothing else can be asked for: the flow decides what is published, and in groups of how
many (streams/flows/opendata). The file can be thrown away: the next start reads the feeds from their beginning.
"""
