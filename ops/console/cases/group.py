"""A group of items decided at once: first tried, which says how many and which; then just those, with progress; and taken back.

A run is kept by this process alone, for who began it. The engine writes a few hundred items a transaction: where the console ends in
the middle, those that were decided stay so, and the same group has the rest.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

from ops.console.cases.boards import TEXT_MAX
from ops.console.cases.desk import Desk
from ops.console.cases.form import Form
from ops.console.frame.page import SECURITY, Pages
from ops.console.frame.trouble import Refused
from ops.console.pages.acting import acting
from ops.queue.deciding import Chosen, Decided, Officer, decide, undo
from ops.queue.items import NAME_DIGITS
from schemas.errors import MeshError
from schemas.guard.middleware import CALLER
from schemas.trace import described
from streams.operators.flow import Flow

RUNS_MAX = 50
NAMED = 40
TRIED, DECIDED, UNDONE = "tried", "decided", "undone"
_logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Run:
    """One group on its way. `step` is one of the three above; `outcome` is there once the step is done, or `error`."""

    name: str
    flow: Flow
    cause: str
    words: Sequence[str]
    officer: Officer
    caller: str
    step: str = TRIED
    done: int = 0
    of: int = 0
    outcome: Decided | None = None
    error: MeshError | None = None
    is_broken: bool = False
    bases: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    """The items that were tried, or decided, with what they stood on."""

    @property
    def is_running(self) -> bool:
        """Whether the step is still on its way."""
        return self.outcome is None and self.error is None and not self.is_broken


class GroupPages:
    """For stewards of the agency that the system is of."""

    def __init__(self, pages: Pages, desk: Desk) -> None:
        self._pages = pages
        self._desk = desk
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._working = asyncio.Semaphore(2)
        self._tasks: set[asyncio.Task[None]] = set()

    async def try_it(self, request: web.Request) -> web.StreamResponse:
        """Begin with a group: count, and decide nothing."""
        flow, form = self._desk.system(request), await Form.of(request)
        chosen = (await request.post()).getall("item", [])
        seen = dict(_looked_at(str(each)) for each in chosen) if form["which"] == "chosen" else None
        words = self._pages.words(request)
        if not form["cause"] or (seen is not None and not seen):
            raise Refused(400, words("group.nothing"), words("group.nothing_fix"))
        with acting(request):
            run = Run(
                name=secrets.token_hex(8),
                flow=flow,
                cause=form["cause"][:TEXT_MAX],
                words=form.words(),
                officer=form.officer(),
                caller=request[CALLER].name,
            )
            self._keep(run)
            self._start(run, Chosen(cause=run.cause, flow=flow.name, seen=seen), is_dry=True)
        return self._led(run)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """How far it is; what would be decided, or was."""
        run = self._run(request)
        is_part = request.headers.get("HX-Request") == "true"
        return self._pages.page(
            request,
            "group_run.html" if is_part else "group.html",
            run=run,
            flow=run.flow,
            named=list(run.bases)[:NAMED],
            digits=NAME_DIGITS,
            feeds=self._desk.sight.directory().feeds,
        )

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """Decide just what was tried; what came since, or stands on other facts, is left."""
        run = self._run(request)
        if run.is_running or run.step != TRIED or run.outcome is None:
            return self._led(run)
        run.step, run.done, run.of, run.outcome = DECIDED, 0, len(run.bases), None
        with acting(request):
            self._start(run, Chosen(cause=run.cause, flow=run.flow.name, seen=dict(run.bases)), is_dry=False)
        return self._led(run)

    async def undo(self, request: web.Request) -> web.StreamResponse:
        """Take back what this run decided, and nothing else."""
        run, form = self._run(request), await Form.of(request)
        if run.is_running or run.step != DECIDED or run.outcome is None or not run.bases:
            return self._led(run)
        with acting(request):
            run.officer = form.officer()
            run.step, run.done, run.of, run.outcome = UNDONE, 0, len(run.bases), None
            self._start(run, Chosen(names=list(run.bases), flow=run.flow.name), is_dry=False)
        return self._led(run)

    async def close(self, _: web.Application) -> None:
        """With the server: what is under way is done."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, run: Run, chosen: Chosen, *, is_dry: bool) -> None:
        task = asyncio.create_task(self._work(run, chosen, is_dry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, run: Run, chosen: Chosen, is_dry: bool) -> None:
        settings = self._desk.sight.acting

        def told(done: int, of: int) -> None:
            run.done, run.of = done, of

        def work() -> Decided:
            if run.step == UNDONE:
                return undo(settings, chosen, run.officer, progress=told)
            return decide(settings, chosen, run.words, run.officer, dry_run=is_dry, progress=told)

        try:
            async with self._working:
                outcome = await asyncio.to_thread(work)
        except MeshError as error:
            run.error = error
        except Exception as error:  # noqa: BLE001 - told on the run's page as an error of this process
            _logger.error("console: a group of cases: %s", described(error))  # noqa: TRY400
            run.is_broken = True
        else:
            run.bases = run.bases if run.step == UNDONE else outcome.bases
            run.outcome = outcome

    def _keep(self, run: Run) -> None:
        self._runs[run.name] = run
        while len(self._runs) > RUNS_MAX:
            self._runs.popitem(last=False)

    def _run(self, request: web.Request) -> Run:
        flow, run = self._desk.system(request), self._runs.get(request.match_info["run"])
        if run is None or run.flow is not flow or run.caller != request[CALLER].name:
            raise web.HTTPNotFound
        return run

    def _led(self, run: Run) -> web.Response:
        to = f"/cases/{run.flow.name}/runs/{run.name}"
        return web.Response(status=303, headers={**SECURITY, "Location": to})


def _looked_at(text: str) -> tuple[str, str]:
    """An item's name and what it stood on, from a box that was ticked."""
    name, _, basis = text.partition(":")
    return name, basis
