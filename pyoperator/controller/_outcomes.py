"""What becomes of a key after its reconcile: counted, logged, and put where it belongs."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal, TypeAlias

from pyoperator.client import ApiError, Conflict, LeadershipLost, TransportError
from pyoperator.controller._calling import leaves
from pyoperator.controller._histogram import RECONCILE_TIME_BOUNDS, DurationHistogram
from pyoperator.controller._records import ReconcileError
from pyoperator.controller._request import TerminalError

if TYPE_CHECKING:
    from pyoperator.clock import Clock
    from pyoperator.controller._calling import Reconcile
    from pyoperator.controller._options import ControllerOptions
    from pyoperator.controller._queue import WorkQueue
    from pyoperator.controller._request import Request, Result

# What a bug in the program raises, as opposed to what the world does to it: the nearest thing to a panic in Go.
PANICS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    TypeError,
    # No reconciler has a say in the life of the process: sys.exit() in one, or in a library it calls, is a bug.
    SystemExit,
    GeneratorExit,
)
_REMEMBERED_ERRORS = 10

Fate: TypeAlias = Literal["settled", "given up", "fatal"]
"""Of a failed reconcile: requeued or done with; given up after its retries; to end the controller."""


class Outcomes:
    """Count, log and requeue; the worker only calls the reconciler."""

    def __init__(self, queue: WorkQueue[Request], options: ControllerOptions, clock: Clock) -> None:
        self._queue = queue
        self._options = options
        self._clock = clock
        self.results = {"success": 0, "error": 0, "requeue": 0, "requeue_after": 0}
        self.terminal_errors = 0
        self.panics = 0
        self.timeouts = 0
        self.conflicts = 0
        self.reconcile_time = DurationHistogram(RECONCILE_TIME_BOUNDS)
        self.last_errors: deque[ReconcileError] = deque(maxlen=_REMEMBERED_ERRORS)

    def answered(self, run: Reconcile, result: Result) -> Fate:
        """Do as the reconciler's answer says."""
        request = run.request
        priority = run.priority if result.priority is None else result.priority
        if result.requeue_after is not None:
            self.results["requeue_after"] += 1
            self._queue.forget(request)
            self._queue.add(request, priority=priority, after=result.requeue_after)
        elif result.backoff:
            self.results["requeue"] += 1
            return self._retry(run, priority)
        else:
            self.results["success"] += 1
            self._queue.forget(request)
        return "settled"

    def failed(self, run: Reconcile, error: BaseException, *, timed_out: bool) -> Fate:
        """Do what the kind of error asks for; ``timed_out``: it is the reconciliation timeout's."""
        request = run.request
        found = leaves(error)
        self.results["error"] += 1
        self.last_errors.append(
            ReconcileError(
                request, type(error).__name__, str(error), self._clock.wall(), self._queue.retries(request) + 1
            )
        )
        if timed_out and isinstance(error, TimeoutError):
            self.timeouts += 1
            run.logger.error("reconcile timed out", timeout=self._options.reconciliation_timeout)
        elif any(isinstance(leaf, TerminalError) for leaf in found):
            self.terminal_errors += 1
            self._queue.forget(request)
            run.logger.error("reconcile failed for good", error=str(error), exc_info=error)
            return "settled"
        elif any(isinstance(leaf, LeadershipLost) for leaf in found):
            run.logger.info("write refused: not leading", error=str(error))
        elif all(isinstance(leaf, Conflict) for leaf in found):
            self.conflicts += 1
            run.logger.info("object changed meanwhile, trying again", error=str(error))
        elif any(isinstance(leaf, PANICS) for leaf in found):
            self.panics += 1
            run.logger.error("reconcile panicked", error=str(error) or type(error).__name__, exc_info=error)
            if not self._options.recover_panic:
                self._queue.add(request, priority=run.priority)
                return "fatal"
        else:
            # Such an error names request and answer. In an outage every key fails, and rendering a chain of tracebacks
            # takes a hundred times as long as the line: the loop would have time for nothing else.
            told = all(isinstance(leaf, ApiError | TransportError) for leaf in found)
            run.logger.error("reconcile failed", error=str(error), exc_info=None if told else error)
        return self._retry(run, run.priority)

    def _retry(self, run: Reconcile, priority: int) -> Fate:
        if self._queue.add_rate_limited(run.request, priority=priority):
            return "settled"
        run.logger.error("given up: retries used up", max_retries=self._options.max_retries)
        return "given up"
