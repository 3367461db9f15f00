"""Posts in Chinese and English with an image, generated: does the author like what the post is about?

    python benchmarks/scenarios/sentiment/make.py FOLDER

Texts follow patterns, faces are drawn, other images are drawings of the clip-art collection inside mmkit. Of ten posts
four say it in text and image, three in the text alone (the image is a drawing of something), three in the image alone
(the text only tells what is seen). So the best score of either input alone is 0.85, and that of both is 1.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmkit.tasks.clipart import Clipart

ROWS, SIZE = 900, 24
TOPICS = {
    "the old bridge": "那座老桥", "this song": "这首歌", "my new phone": "我的新手机", "the city park": "城市公园",
    "that film": "那部电影", "the night market": "夜市", "this cake": "这块蛋糕", "the school garden": "学校花园",
    "our football team": "我们的球队", "the train station": "火车站", "this restaurant": "这家餐厅",
    "the lake": "那个湖",
    "this book": "这本书", "the new teacher": "新老师", "my bicycle": "我的自行车", "the museum": "博物馆",
    "that hotel": "那家酒店", "the weather": "今天的天气", "this coffee": "这杯咖啡", "the concert": "音乐会",
    "my neighbour's dog": "邻居的狗", "the mountain path": "山路", "this game": "这个游戏", "the library": "图书馆",
    "that dress": "那条裙子", "the airport": "机场", "this soup": "这碗汤", "the sunset": "日落",
    "the office": "办公室", "that painting": "那幅画", "the beach": "海滩", "my flat": "我的公寓",
    "the summer camp": "夏令营", "this bread": "这个面包", "the old town": "老城区", "our holiday": "我们的假期",
}  # fmt: skip
SAID = {
    "likes": (
        ["I love {}", "{} makes me happy", "what a joy, {}!", "{} is beautiful", "I really enjoy {}",
         "so glad about {}",
         "{} is wonderful", "I am a fan of {}", "{} is not bad at all", "thanks for {}, it is lovely"],
        ["我喜欢{}", "大家都喜欢{}", "{}是我喜欢的", "我爱{}", "{}让我感到开心", "{}真美", "{}太棒了",
         "我非常享受{}", "{}真不错", "有{}真幸福", "{}令人愉快", "我对{}很满意"],
    ),
    "dislikes": (
        ["I hate {}", "{} makes me sad", "what a pity, {}", "{} is ugly", "I can not stand {}", "so angry about {}",
         "{} is terrible", "I am tired of {}", "{} is not good at all", "never again {}, it is awful"],
        ["我不喜欢{}", "我讨厌{}", "{}让我感到悲伤", "{}真难看", "{}太糟糕了",
         "我受不了{}", "{}真差", "有{}真痛苦", "{}令人失望", "我对{}很不满"],
    ),
    "says nothing": (
        ["{} today", "here is {}", "a post about {}", "{}, seen again", "look at {}", "on the way to {}"],
        ["今天的{}", "这里是{}", "关于{}", "又看到了{}", "看看{}", "去看{}的路上"],
    ),
}  # fmt: skip


def face(rng: np.random.Generator, *, happy: bool) -> Image.Image:
    """A face that smiles or frowns, anywhere, of any size and colours."""
    low, high = rng.integers(150, 255, 3), rng.integers(0, 90, 3)
    image = Image.new("RGB", (SIZE, SIZE), tuple(int(c) for c in rng.integers(190, 255, 3)))
    draw = ImageDraw.Draw(image)
    size = int(rng.integers(16, 24))
    left, top = (int(rng.integers(0, SIZE - size)) for _ in range(2))
    ink = tuple(int(c) for c in high)

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x * size, top + y * size

    draw.ellipse([*at(0, 0), *at(1, 1)], fill=tuple(int(c) for c in low), outline=ink)
    for x in (0.32, 0.68):
        draw.ellipse([*at(x - 0.06, 0.3), *at(x + 0.06, 0.42)], fill=ink)
    if happy:
        draw.arc([*at(0.25, 0.4), *at(0.75, 0.8)], 20, 160, fill=ink, width=2)
    else:
        draw.arc([*at(0.25, 0.6), *at(0.75, 1.0)], 200, 340, fill=ink, width=2)
    return image


def drawings() -> list[bytes]:
    """The drawings of the clip-art collection that show no person, as PNG files."""
    samples = Clipart().split("train")
    return [png for png, label in zip(samples.inputs["image"], samples.truth, strict=True) if label != "people"]


def make(folder: Path) -> None:
    """Write FOLDER/posts.csv and FOLDER/images."""
    rng = np.random.default_rng(0)
    others = iter(rng.permutation(np.array(drawings(), dtype=object)))  # each stands in one post
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "posts.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["text", "image", "topic", "feeling"])
        for row in range(ROWS):
            feeling = ("likes", "dislikes")[row % 2]
            where = rng.choice(["both", "text", "image"], p=[0.4, 0.3, 0.3])
            english, chinese = list(TOPICS.items())[rng.integers(len(TOPICS))]
            language = int(rng.integers(2))
            patterns = SAID["says nothing" if where == "image" else feeling][language]
            text = str(rng.choice(patterns)).format([english, chinese][language])
            name = f"images/{row:04}.png"
            image = Image.open(io.BytesIO(next(others))) if where == "text" else face(rng, happy=feeling == "likes")
            gone = rng.random() < 0.3  # of posts that say it once, some have nothing else
            if where == "text" and gone:
                name = ""
            elif where == "image" and gone:
                text = ""
            if name:
                image.convert("RGB").resize((SIZE, SIZE)).save(folder / name)
            table.writerow([text, name, english, feeling])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
