"""Download: a whole set as a file. It is made first and sent then, so that a slow reader holds no state of the store.

So many are made at once, and so many sent: who comes when there are more is asked to come again soon.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import web

from ops.opendata.answers import Answers
from ops.opendata.files import FORMATS
from ops.opendata.query import Query
from ops.opendata.refusal import Refusal

MAKING_MAX = 2
HELD_MAX = 32
"""Files that are being made, wait to be, or are being sent."""
SEND_SECONDS = 1_800
_PIECE = 1 << 18
_WAIT_SECONDS = 10


class Downloads:
    """Of one server. `headers` are those of every answer of its."""

    def __init__(self, answers: Answers, headers: dict[str, str]) -> None:
        self._answers = answers
        self._headers = headers
        self._making = asyncio.Semaphore(MAKING_MAX)
        self._held = 0

    async def file(self, request: web.Request) -> web.StreamResponse:
        """The file, or 304 where the caller has it already."""
        query = Query(request.query.items())
        form = query.one_of("format", tuple(FORMATS), "csv")
        code = request.match_info["code"]
        told, rows = await asyncio.to_thread(self._answers.whole, code, query)
        media, write = FORMATS[form]
        if self._held >= HELD_MAX:
            why = f"{self._held} files are being made or sent already"
            raise Refusal(
                503,
                "the file cannot be made now",
                why=why,
                fix=f"ask again in {_WAIT_SECONDS} s",
                wait_seconds=_WAIT_SECONDS,
            )
        self._held += 1
        try:
            with tempfile.TemporaryFile() as file:
                async with self._making:
                    await asyncio.to_thread(write, file, told, rows)
                    tag = await asyncio.to_thread(_digest, file)
                return await self._sent(request, file, media, tag, f"{told.title}.{form}")
        finally:
            self._held -= 1

    async def _sent(self, request: web.Request, file: BinaryIO, media: str, tag: str, name: str) -> web.StreamResponse:
        if any(known.value in {tag, "*"} for known in request.if_none_match or ()):
            same = web.Response(status=304, headers=self._headers)
            same.etag = tag
            return same
        answer = web.StreamResponse(headers=self._headers)
        answer.etag = tag
        answer.content_type = media
        if media != FORMATS["parquet"][0]:
            answer.charset = "utf-8"
        answer.content_length = file.seek(0, 2)
        answer.headers["Content-Disposition"] = (
            f"attachment; filename=\"{request.match_info['code']}.{name.rpartition('.')[2]}\"; filename*=UTF-8''{quote(name)}"
        )
        file.seek(0)
        await answer.prepare(request)
        if request.method == "HEAD":
            return answer
        try:
            async with asyncio.timeout(SEND_SECONDS):
                while piece := file.read(_PIECE):
                    await answer.write(piece)
                await answer.write_eof()
        except (TimeoutError, ConnectionError):  # too slow, or gone: cut off, so that nobody takes a part for the whole
            if request.transport is not None:
                request.transport.abort()
        return answer


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()[:32]
