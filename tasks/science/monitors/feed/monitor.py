"""The monitors of the feed: how the rows of a window arrived, and whether they meet the expectations of the data."""

from __future__ import annotations

from fractions import Fraction

from tasks.science.monitors.feed.data_quality import quality_findings
from tasks.science.monitors.feed.findings import duplicates_expected, feed_findings
from tasks.science.monitors.protocol import FindingKind, Look, Monitor, MonitorResult


class DataQualityMonitor(Monitor):
    """The expectations of the version, asked of the window's rows."""

    name = "data_quality"
    kinds = (FindingKind("data_quality", rank=70, share=Fraction(1, 16), concern="feed"),)
    of_small_windows = True

    def look(self, look: Look) -> MonitorResult:
        window = look.window
        return MonitorResult(quality_findings(window.checks, len(window.rows), look.levels["data_quality"]))


class FeedMonitor(Monitor):
    """Silence, volume, delay of outcomes, duplicates, columns and clocks."""

    name = "feed"
    kinds = (FindingKind("feed", rank=80, share=Fraction(1, 16), concern="feed"),)
    of_small_windows = True

    def look(self, look: Look) -> MonitorResult:
        config, reference, window = look.config, look.reference.rows, look.window
        expected = 0.0 if reference.empty else duplicates_expected(config, reference, len(window.rows), config.seed)
        level = look.levels["feed"]
        return MonitorResult(feed_findings(config, window.facts, window.facts_before, window.now, level, expected))


DATA_QUALITY, FEED = DataQualityMonitor(), FeedMonitor()
