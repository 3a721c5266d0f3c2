"""Events about objects, as ``kubectl describe`` shows them: recorded without waiting, sent in the background."""

from pyoperator.events._recorder import EVENT_KIND, EventRecorder, EventRecorderStatistics

__all__ = ["EVENT_KIND", "EventRecorder", "EventRecorderStatistics"]
