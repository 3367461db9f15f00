"""Metrics in words: every metric that is measured has a title of its own."""

from mmkit.metrics.tensors import metric_names
from mmkit.titles import title_of


def test_no_metric_is_shown_by_its_name_in_code():
    names = {name for kind in ("classes", "labels", "scalar") for name in metric_names(kind)}
    titles = {name: title_of(name) for name in names}
    assert [name for name, title in titles.items() if "_" in title] == []
    assert len(set(titles.values())) == len(names)
    assert title_of("of_a_plugin") == "of_a_plugin"
