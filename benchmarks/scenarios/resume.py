"""Go on with a suite that was interrupted: the same call with the same `out` does what is still to be done."""

import mmkit
from mmkit.system.progress import Progress


class Impatient(Progress):
    """A progress of one's own is told of every step. This one loses patience after two runs, as Ctrl-C would."""

    def __init__(self, patience):
        self.patience = patience

    def update(self, what, done, total=None):
        if what == "runs":
            print(f"{done} of {total} runs")
            if done == self.patience:
                raise KeyboardInterrupt

    def note(self, message):
        print(message)


def bench(patience):
    return mmkit.bench(
        task="synthetic-unique:train=64",
        fusion="concat",
        baselines=False,
        training={"epochs": 3, "lr": 0.002},
        seeds=4,
        cost=False,
        out="runs/resumed",
        progress=Impatient(patience),
    )


try:
    bench(patience=2)
except KeyboardInterrupt:
    print("interrupted")
suite = bench(patience=99)
print(sorted((record.fusion, record.index, record.status) for record in suite.records))
