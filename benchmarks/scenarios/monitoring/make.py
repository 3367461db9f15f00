"""A machine that is watched and heard, generated: what state is it in?

    python benchmarks/scenarios/monitoring/make.py FOLDER

A belt is seen to move or to stand, and a motor is heard to hum, or not:

            hum      silence
    moves   running  coasting
    stands  jam      off

FOLDER/windows.csv has windows of a second from separate recordings, a quarter of each state. FOLDER/watch has one
recording of a minute, of another seed, as it comes: a film and a sound for each quarter of a second, and the truth.
Needs PyAV, as mmkit-video does.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import av
import numpy as np
import soundfile

WINDOWS, SIZE, FRAMES, RATE = 240, 32, 8, 8000
"""FRAMES and RATE are those of a second."""
CHUNK, LONG, SHORTEST, LONGEST = 0.25, 60, 4, 9
"""Seconds: of a chunk, of the recording, and of a state in it."""
STATES = {
    ("moves", "hum"): "running",
    ("moves", "silence"): "coasting",
    ("stands", "hum"): "jam",
    ("stands", "silence"): "off",
}


class Machine:
    """One machine under one camera and one microphone, which goes on from chunk to chunk."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.belt, self.mark = rng.integers(120, 220, 3), rng.integers(0, 80, 3)
        self.speed, self.pitch = rng.uniform(1.5, 3.5), rng.uniform(90, 160)
        self.at, self.heard = rng.uniform(0, SIZE), 0

    def frames(self, count: int, *, moves: bool) -> np.ndarray:
        """[T H W 3]: marks on a belt, which move to the right."""
        found = np.empty((count, SIZE, SIZE, 3), np.uint8)
        for number in range(count):
            self.at += self.speed if moves else 0
            columns = (np.arange(SIZE) - self.at) % 12 < 4
            picture = np.where(columns[None, :, None], self.mark, self.belt) + np.zeros((SIZE, 1, 1))
            found[number] = np.clip(picture + self.rng.normal(0, 6, picture.shape), 0, 255)
        return found

    def sound(self, count: int, *, hums: bool) -> np.ndarray:
        """[T]: a hum with its second harmonic, or the noise of the room."""
        seconds = (self.heard + np.arange(count)) / RATE
        self.heard += count
        wave = self.rng.normal(0, 0.02, count)
        if hums:
            wave += 0.1 * np.sin(2 * np.pi * self.pitch * seconds) + 0.05 * np.sin(4 * np.pi * self.pitch * seconds)
        return wave.astype(np.float32)


def write(path: Path, pictures: np.ndarray, wave: np.ndarray) -> None:
    """A film without sound, and its sound beside it."""
    with av.open(str(path.with_suffix(".avi")), "w") as file:
        video = file.add_stream("mjpeg", rate=FRAMES)
        video.width = video.height = SIZE
        video.pix_fmt = "yuvj444p"
        for picture in pictures:
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(video.encode())
    soundfile.write(path.with_suffix(".wav"), wave, RATE)


def windows(folder: Path) -> None:
    """Write windows.csv, and its films and sounds."""
    rng, cases = np.random.default_rng(0), list(STATES)
    (folder / "windows").mkdir(parents=True, exist_ok=True)
    with (folder / "windows.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["seen", "heard", "state"])
        for number in range(WINDOWS):
            seen, heard = cases[number % len(cases)]
            machine, name = Machine(rng), f"windows/{number:03}"
            pictures, wave = machine.frames(FRAMES, moves=seen == "moves"), machine.sound(RATE, hums=heard == "hum")
            write(folder / name, pictures, wave)
            table.writerow([f"{name}.avi", f"{name}.wav", STATES[seen, heard]])


def watch(folder: Path) -> None:
    """Write watch/, the recording in chunks, and watch/truth.csv."""
    rng, cases = np.random.default_rng(1), list(STATES)
    (folder / "watch").mkdir(parents=True, exist_ok=True)
    machine, now, left = Machine(rng), int(rng.integers(len(cases))), 0.0
    with (folder / "watch" / "truth.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["chunk", "state"])
        for number in range(round(LONG / CHUNK)):
            if left <= 0:
                now = (now + int(rng.integers(1, len(cases)))) % len(cases)
                left = float(rng.integers(SHORTEST, LONGEST + 1))
            left -= CHUNK
            seen, heard = cases[now]
            pictures = machine.frames(round(CHUNK * FRAMES), moves=seen == "moves")
            wave = machine.sound(round(CHUNK * RATE), hums=heard == "hum")
            write(folder / "watch" / f"{number:03}", pictures, wave)
            table.writerow([number, STATES[seen, heard]])


def make(folder: Path) -> None:
    """Write all of it."""
    windows(folder)
    watch(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
