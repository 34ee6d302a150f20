"""What is on real films and is not anatomy: letters, arrows, tubes, electrodes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

LETTERS = list("ABCDELRabcd0123 SPORTABLE")
FINER = 4  # drawn so many times larger, then averaged


class _Sheet:
    """Two pictures drawn alike: which grey, and how much of it covers what is below."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.side = FINER * size
        self.rng = rng
        self.unit = self.side / 100 * rng.uniform(0.7, 1.6)
        self.ink, self.cover = (Image.new("L", (self.side, self.side)) for _ in range(2))
        self.grey = int(rng.choice([255, 255, 235, 200, 20, 0]))
        self.strength = 255

    def paint(self, shape: str, *where: object, grey: int | None = None, **how: object) -> None:
        for picture, level in ((self.ink, self.grey if grey is None else grey), (self.cover, self.strength)):
            getattr(ImageDraw.Draw(picture), shape)(*where, fill=level, **how)

    def place(self) -> npt.NDArray[np.float64]:
        return self.rng.uniform(0.03, 0.95, 2) * self.side

    def text(self) -> None:
        """One to eight letters, usually near a corner, sometimes in a box."""
        words = "".join(self.rng.choice(LETTERS, size=int(self.rng.integers(1, 9))))
        x, y = self.place()
        if self.rng.random() < 0.7:
            x, y = self.rng.choice([0.02, 0.80]) * self.side, self.rng.choice([0.02, 0.90]) * self.side
        if self.rng.random() < 0.4:
            box = (x - self.unit, y - self.unit, x + 3.6 * self.unit * len(words), y + 7 * self.unit)
            self.paint("rectangle", box, grey=255 - self.grey)
        self.paint("text", (x, y), words, font=ImageFont.load_default(size=max(10.0, 6 * self.unit)))

    def arrows(self) -> None:
        for _ in range(int(self.rng.integers(1, 5))):
            angles = self.rng.uniform(0, 2 * np.pi) + np.array([0, 2.4, -2.4])
            corners = self.place() + 4 * self.unit * np.stack((np.cos(angles), np.sin(angles)), axis=1)
            self.paint("polygon", [tuple(corner) for corner in corners])

    def tubes(self) -> None:
        """Bezier curves, half transparent."""
        self.strength = int(self.rng.uniform(90, 255))
        t = np.linspace(0, 1, 40)[:, None]
        for _ in range(int(self.rng.integers(1, 4))):
            a, b, c, d = self.rng.uniform(-0.1, 1.1, (4, 2)) * self.side
            curve = (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
            width = max(2, int(self.unit * self.rng.uniform(0.5, 1.6)))
            self.paint("line", [tuple(point) for point in curve], width=width, joint="curve")

    def devices(self) -> None:
        """Electrodes, clips, a pacemaker."""
        for _ in range(int(self.rng.integers(1, 6))):
            x, y = self.place()
            across = self.unit * self.rng.uniform(0.8, 4.5)
            down = across * self.rng.uniform(0.5, 1.0)
            self.paint(str(self.rng.choice(["ellipse", "rectangle"])), (x - across, y - down, x + across, y + down))


def writing(size: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:  # (2, size, size): grey and cover
    """Something of one sort, anywhere on a film."""
    sheet = _Sheet(size, rng)
    (sheet.text, sheet.text, sheet.arrows, sheet.tubes, sheet.tubes, sheet.devices)[rng.integers(6)]()
    small = (plane.resize((size, size), Image.Resampling.BOX) for plane in (sheet.ink, sheet.cover))
    ink, cover = (np.asarray(plane, dtype=np.float32) / 255 for plane in small)
    painted = cover * (255 / sheet.strength)  # share of a pixel with anything on it
    return np.stack((np.clip(ink / np.maximum(painted, 1e-3), 0, 1), cover))
