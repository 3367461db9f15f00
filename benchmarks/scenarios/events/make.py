"""Clips of a door with sound, generated: what happens?

    python benchmarks/scenarios/events/make.py FOLDER

A door is seen to open or to close, and a knock or a buzzer is heard:

             knock     buzzer
    opens    guest     delivery
    closes   farewell  alarm

All four are equally frequent, so the pictures alone and the sound alone are right half of the time, both together
always. Needs PyAV, as mmkit-video does.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import av
import numpy as np

CLIPS, SIZE, FRAMES, RATE = 240, 32, 12, 8000
EVENTS = {
    ("opens", "knock"): "guest",
    ("opens", "buzzer"): "delivery",
    ("closes", "knock"): "farewell",
    ("closes", "buzzer"): "alarm",
}


def frames(rng: np.random.Generator, *, opens: bool) -> np.ndarray:
    """[T H W 3]: a dark gap that grows or shrinks, on a wall of any colour."""
    wall, door = rng.integers(120, 255, 3), rng.integers(0, 80, 3)
    left, widest = int(rng.integers(2, 10)), int(rng.integers(14, 20))
    found = np.empty((FRAMES, SIZE, SIZE, 3), np.uint8)
    for number, share in enumerate(np.linspace(0.1, 0.9, FRAMES)):
        found[number] = wall
        wide = max(1, round(widest * (share if opens else 1 - share)))
        found[number, 4:, left : left + wide] = door
    return np.clip(found + rng.normal(0, 6, found.shape), 0, 255).astype(np.uint8)


def sound(rng: np.random.Generator, *, knock: bool) -> np.ndarray:
    """[T]: a second with three knocks, or a buzzer, somewhere in it."""
    seconds = np.arange(RATE) / RATE
    wave = rng.normal(0, 0.01, RATE)
    start = rng.uniform(0, 0.3)
    if knock:
        for beat in range(3):
            since = seconds - start - 0.2 * beat
            wave += np.where(
                since > 0, 0.5 * np.exp(-since * 60) * np.sin(2 * np.pi * rng.uniform(150, 250) * since), 0
            )
    else:
        on = (seconds > start) & (seconds < start + 0.5)
        wave += on * 0.2 * np.sign(np.sin(2 * np.pi * rng.uniform(300, 500) * seconds))
    return wave.astype(np.float32)


def write(path: Path, pictures: np.ndarray, wave: np.ndarray) -> None:
    """A clip with both, as MP4."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("mpeg4", rate=FRAMES)
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        audio = file.add_stream("aac", rate=RATE, layout="mono")
        for picture in pictures:
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(video.encode())
        heard = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        heard.rate = RATE
        file.mux(audio.encode(heard))
        file.mux(audio.encode())


def make(folder: Path) -> None:
    """Write FOLDER/clips.csv and FOLDER/clips."""
    rng = np.random.default_rng(0)
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    cases = list(EVENTS)
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["seen", "heard", "event"])
        for number in range(CLIPS):
            seen, heard = cases[number % len(cases)]
            name = f"clips/{number:03}.mp4"
            write(folder / name, frames(rng, opens=seen == "opens"), sound(rng, knock=heard == "knock"))
            table.writerow([name, name, EVENTS[seen, heard]])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
