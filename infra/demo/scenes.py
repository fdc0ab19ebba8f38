"""What each topic looks like: small moving scenes, drawn with NumPy, every one a little different.

A scene is drawn at `SIZE` x `SIZE` in float32 from 0 to 1. Its maker gets the clip's own random stream
once and gives back a function of time, so that what never moves is drawn once. Functions that take a frame
paint on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

SIZE: Final = 256
"""Width and height of a frame, pixels."""

Frame = npt.NDArray[np.float32]
Scene = Callable[[float], Frame]
"""Seconds to a frame, float32, (SIZE, SIZE, 3), 0 to 1."""
Colour = tuple[float, float, float]
Values = npt.NDArray[np.float64]

_AXIS: Final = np.arange(SIZE, dtype=np.float32) + 0.5
_X: Final = _AXIS[None, :] / SIZE
_Y: Final = _AXIS[:, None] / SIZE


def scene(topic: int, pace: float, rng: np.random.Generator) -> Scene:
    """The scene of a topic; `pace` from 0 (slow) to 1 (fast) is the speed of all motion in it."""
    makers = (_ocean, _forest, _city, _fire, _space, _storm, _party, _machines)
    drawn = makers[topic](rng)
    speed = 0.35 + 1.6 * pace
    start = float(rng.uniform(0, 20))
    return lambda seconds: drawn(start + speed * seconds)


def mixed(first: Scene, second: Scene, share: float, rng: np.random.Generator) -> Scene:
    """Two scenes side by side along a slanted, swaying edge; `share` of the picture is the second one's."""
    slant, phase = float(rng.uniform(-0.35, 0.35)), float(rng.uniform(0, 6))

    def draw(seconds: float) -> Frame:
        edge = 1 - share + slant * (_Y - 0.5) + 0.02 * np.sin(9 * _Y + seconds + phase)
        return _blend(first(seconds), second(seconds), np.clip((_X - edge) * 40 + 0.5, 0, 1))

    return draw


def _blend(under: Frame, over: Frame | Colour, alpha: Frame) -> Frame:
    """`over` on `under`, by an alpha of shape (h, w)."""
    return np.asarray(under + alpha[..., None] * (np.asarray(over, np.float32) - under), np.float32)


def _paint(frame: Frame, rows: slice, columns: slice, colour: Colour, alpha: Values | Frame) -> None:
    """Puts a colour on a part of the frame, by an alpha of that part's shape."""
    part = frame[rows, columns]
    part += alpha[..., None] * (np.array(colour, np.float32) - part)


def _disc(
    frame: Frame, x: float, y: float, radius: float, colour: Colour, alpha: float = 1.0, soft: float = 1.0
) -> None:
    """A disc at (x, y) in shares of the frame, with an edge `soft` pixels wide."""
    # Python floats: a float64 scalar of NumPy would make everything below float64, at twice the time.
    cx, cy, r = float(x) * SIZE, float(y) * SIZE, float(radius) * SIZE
    reach = r + soft
    x0, x1 = max(int(cx - reach), 0), min(int(cx + reach) + 2, SIZE)
    y0, y1 = max(int(cy - reach), 0), min(int(cy + reach) + 2, SIZE)
    if x0 >= x1 or y0 >= y1:
        return
    distance = np.sqrt((_AXIS[None, x0:x1] - cx) ** 2 + (_AXIS[y0:y1, None] - cy) ** 2)
    _paint(
        frame, slice(y0, y1), slice(x0, x1), colour, np.clip((r - distance) / soft + 0.5, 0, 1) * float(alpha)
    )


def _box(
    frame: Frame, x: float, y: float, width: float, height: float, colour: Colour, alpha: float = 1.0
) -> None:
    """An upright rectangle from (x, y), in shares of the frame."""
    x0, x1 = max(int(x * SIZE + 0.5), 0), min(int((x + width) * SIZE + 0.5), SIZE)
    y0, y1 = max(int(y * SIZE + 0.5), 0), min(int((y + height) * SIZE + 0.5), SIZE)
    if x0 < x1 and y0 < y1:
        part = frame[y0:y1, x0:x1]
        part *= 1 - alpha
        part += np.array(colour, np.float32) * np.float32(alpha)


def _specks(
    frame: Frame, x: Values, y: Values, width: int, height: int, colours: Frame, alpha: Values
) -> None:
    """n small blocks of `width` x `height` pixels at once; x and y wrap around, colours are (n, 3)."""
    rows = (np.mod(y, 1) * SIZE).astype(np.int64)[:, None, None] + np.arange(height)[:, None]
    columns = (np.mod(x, 1) * SIZE).astype(np.int64)[:, None, None] + np.arange(width)
    at = (np.minimum(rows, SIZE - 1), np.mod(columns, SIZE))
    weight = alpha[:, None, None, None]
    frame[at] = frame[at] * (1 - weight) + weight * colours[:, None, None, :]


def _gradient(top: Colour, bottom: Colour) -> Frame:
    """A vertical run of colour."""
    mix = np.broadcast_to(_Y, (SIZE, SIZE))
    return _blend(np.broadcast_to(np.array(top, np.float32), (SIZE, SIZE, 3)), bottom, mix.astype(np.float32))


def _tint(colour: Colour, rng: np.random.Generator, by: float = 0.06) -> Colour:
    """The colour, a little off."""
    red, green, blue = (float(v) for v in np.clip(np.array(colour) + rng.normal(0, by, 3), 0, 1))
    return red, green, blue


def _ground(frame: Frame, height: Frame, colour: Colour, soft: float = 1.5, fill: bool = True) -> None:
    """Fills what is below a line of heights, one a column, in shares of the frame; or as deep as it waves."""
    first = max(int(float(height.min()) * SIZE - soft), 0)
    last = min(int(float(height.max()) * SIZE + soft) + 2, SIZE)
    if first < last:
        depth = (_AXIS[first:last, None] - height[None, :] * SIZE) / soft + 0.5
        _paint(frame, slice(first, last), slice(0, SIZE), colour, np.clip(depth, 0, 1).astype(np.float32))
    if fill:
        frame[max(last, 0) :] = colour


def _ocean(rng: np.random.Generator) -> Scene:
    sky = _gradient(_tint((0.98, 0.72, 0.5), rng), _tint((0.75, 0.9, 0.98), rng))
    _disc(sky, float(rng.uniform(0.2, 0.8)), 0.27, float(rng.uniform(0.06, 0.1)), (1.0, 0.95, 0.75), soft=6)
    top, count = float(rng.uniform(0.36, 0.5)), int(rng.integers(5, 8))
    phases, lengths = rng.uniform(0, 6, count), rng.uniform(7, 16, count)
    near, far = _tint((0.02, 0.2, 0.42), rng, 0.03), _tint((0.25, 0.66, 0.8), rng)
    boat = float(rng.uniform(0.2, 0.8))

    def draw(t: float) -> Frame:
        frame = sky.copy()
        for i in range(count):
            depth = i / (count - 1)
            base = top + (1 - top) * depth**1.3 * 0.92
            line = base + (0.008 + 0.03 * depth) * np.sin(lengths[i] * _X[0] + phases[i] + t * (1.2 + depth))
            colour = tuple(f + (n - f) * depth for f, n in zip(far, near, strict=True))
            _ground(frame, (line - 0.012).astype(np.float32), (0.9, 0.97, 1.0), 2.5, fill=False)
            _ground(frame, line.astype(np.float32), (colour[0], colour[1], colour[2]))
            if i == 1:
                _sail(frame, (boat + 0.02 * t) % 1.2 - 0.1, base + 0.015 * float(np.sin(t * 2)))
        return frame

    return draw


def _sail(frame: Frame, x: float, y: float) -> None:
    for step in range(12):
        _box(frame, x - 0.002 * step, y - 0.15 + 0.01 * step, 0.004 + 0.005 * step, 0.011, (0.99, 0.98, 0.95))
    _box(frame, x - 0.05, y - 0.025, 0.12, 0.022, (0.55, 0.2, 0.15))


def _forest(rng: np.random.Generator) -> Scene:
    frame = _gradient(_tint((0.75, 0.88, 0.6), rng), _tint((0.3, 0.55, 0.25), rng))
    for depth in np.linspace(0, 1, 3):
        shade = float(1 - 0.75 * depth)
        trunk, crown = (0.3 * shade, 0.24 * shade, 0.15 * shade), (0.2 * shade, 0.5 * shade, 0.22 * shade)
        for x in rng.uniform(-0.05, 1.05, 5 if depth < 1 else 3):
            width = 0.02 + 0.035 * float(depth)
            _box(frame, float(x), 0.0, width, 1.0, trunk)
            for _ in range(9):
                spot = rng.normal((x, 0.1 + 0.05 * depth), (0.09, 0.1))
                _disc(
                    frame,
                    float(spot[0]),
                    float(spot[1]),
                    float(rng.uniform(0.03, 0.08)),
                    _tint(crown, rng, 0.03),
                    0.9,
                )
    floor = 0.86 + 0.02 * np.sin(11 * _X[0] + rng.uniform(0, 6))
    _ground(frame, floor.astype(np.float32), _tint((0.1, 0.26, 0.1), rng, 0.02))
    n = int(rng.integers(18, 30))
    seeds = rng.uniform(0, 1, (n, 4))

    def draw(t: float) -> Frame:
        out = frame.copy()
        for x, y, size, phase in seeds:
            glow = 0.5 + 0.5 * float(np.sin(3 * t + 20 * phase))
            if phase < 0.5:
                height = 0.3 + 0.6 * y + 0.04 * np.cos(t * 1.3 + 9 * phase)
                _disc(
                    out,
                    (x + 0.05 * np.sin(t + 9 * size)) % 1,
                    height,
                    0.012 + 0.008 * size,
                    (1.0, 0.95, 0.45),
                    0.35 + 0.6 * glow,
                    5,
                )
            else:
                _disc(
                    out,
                    (x + 0.04 * np.sin(2 * t + 9 * phase)) % 1,
                    (y + 0.09 * t * (0.6 + size)) % 1.05,
                    0.008 + 0.008 * size,
                    (0.75, 0.85 - 0.4 * size, 0.15),
                    0.95,
                )
        return out

    return draw


def _city(rng: np.random.Generator) -> Scene:
    still = _gradient(_tint((0.1, 0.05, 0.25), rng, 0.03), _tint((0.55, 0.2, 0.5), rng))
    neon = ((1.0, 0.2, 0.65), (0.15, 0.9, 1.0), (1.0, 0.85, 0.3))
    lights: list[tuple[float, float, Colour, float]] = []
    x = -0.03
    while x < 1:
        width, top = float(rng.uniform(0.09, 0.18)), float(rng.uniform(0.18, 0.58))
        _box(still, x, top, width - 0.012, 1 - top, _tint((0.09, 0.08, 0.2), rng, 0.025))
        _box(still, x, top, width - 0.012, 0.012, neon[int(rng.integers(3))], 0.9)
        for wx in np.arange(x + 0.016, x + width - 0.03, 0.028):
            lights += [
                (float(wx), float(wy), (1.0, 0.86, 0.5), float(rng.random()))
                for wy in np.arange(top + 0.035, 0.8, 0.042)
                if rng.random() < 0.6
            ]
        x += width
    for wx, wy, colour, phase in lights:
        if phase < 0.8:
            _box(still, wx, wy, 0.015, 0.02, colour, 0.35 + 0.6 * phase)
    _box(still, 0, 0.82, 1, 0.18, (0.05, 0.05, 0.09))
    blinking = [light for light in lights if light[3] >= 0.8]
    cars = rng.uniform(0, 1, (10, 2))

    def draw(t: float) -> Frame:
        out = still.copy()
        for wx, wy, colour, phase in blinking:
            _box(out, wx, wy, 0.015, 0.02, colour, float(np.sin(2 * t + 90 * phase) > 0))
        for i, (place, size) in enumerate(cars):
            right = i % 2
            at = (place + (0.3 if right else -0.3) * t * (0.7 + size)) % 1.2 - 0.1
            colour = (1.0, 0.95, 0.8) if right else (1.0, 0.15, 0.15)
            y = 0.87 + 0.06 * right
            _box(out, at - (0.09 if right else 0), y - 0.004, 0.09, 0.008, colour, 0.35)
            _disc(out, at, y, 0.012, colour, 1.0, 5)
        return out

    return draw


def _noise(rng: np.random.Generator, cells: int) -> Frame:
    """A texture of soft spots that joins at its edges, (SIZE, SIZE), 0 to 1."""
    wave = np.fft.rfft2(rng.normal(0, 1, (SIZE, SIZE)))
    fy, fx = np.fft.fftfreq(SIZE)[:, None] * SIZE, np.fft.rfftfreq(SIZE)[None, :] * SIZE
    spots = np.fft.irfft2(wave * np.exp(-(fx**2 + (fy / 1.0) ** 2) / cells**2), (SIZE, SIZE))
    spots -= spots.min()
    return np.asarray(spots / spots.max(), np.float32)


def _palette(*stops: Colour) -> Frame:
    """256 colours that run through the stops, (256, 3)."""
    at = np.linspace(0, 1, len(stops))
    values = np.array(stops)
    steps = np.linspace(0, 1, 256)
    return np.stack([np.interp(steps, at, values[:, c]) for c in range(3)], axis=1).astype(np.float32)


def _fire(rng: np.random.Generator) -> Scene:
    slow, fast = _noise(rng, int(rng.integers(7, 11))), _noise(rng, int(rng.integers(15, 24)))
    colours = _palette(
        (0.05, 0.01, 0.02),
        (0.35, 0.03, 0.02),
        _tint((0.85, 0.2, 0.03), rng, 0.04),
        _tint((1.0, 0.6, 0.1), rng, 0.04),
        (1.0, 0.95, 0.7),
    )
    middle, width = float(rng.uniform(0.38, 0.62)), float(rng.uniform(0.3, 0.55))
    body = (1.25 * _Y**1.2 - 1.3 * np.abs(_X - middle) ** 1.6 / width).astype(np.float32)
    sparks = rng.uniform(0, 1, (22, 3))

    def draw(t: float) -> Frame:
        up = int(t * 95)
        flame = np.roll(slow, -up, 0) + 0.6 * np.roll(fast, (-2 * up, int(9 * np.sin(2 * t))), (0, 1))
        heat = np.clip(body + 0.75 * (flame - 0.85), 0, 1)
        out = colours[(heat * 255).astype(np.uint8)]
        for x, y, size in sparks:
            rise = (y + t * (0.25 + 0.3 * size)) % 1
            _disc(
                out,
                x + 0.03 * np.sin(5 * t + 9 * size),
                1 - rise,
                0.004 + 0.005 * size,
                (1.0, 0.8, 0.35),
                0.9 * (1 - rise),
                2,
            )
        _box(out, middle - 0.3, 0.93, 0.6, 0.045, (0.16, 0.08, 0.05))
        _box(out, middle - 0.2, 0.89, 0.4, 0.045, (0.23, 0.11, 0.06))
        return out

    return draw


def _space(rng: np.random.Generator) -> Scene:
    cloud = _noise(rng, 5)[..., None] ** 2.5
    hue = _tint((0.4, 0.2, 0.65), rng, 0.12)
    still = np.asarray(np.array((0.015, 0.015, 0.05)) + 0.75 * cloud * np.array(hue), np.float32)
    for x, y, size in rng.uniform(0, 1, (110, 3)):
        _disc(still, float(x), float(y), 0.0015 + 0.003 * size**4, (1, 1, 1), float(0.4 + 0.6 * size), 1.2)
    px, py, pr = float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.12, 0.2))
    planet, ringed = _tint((0.8, 0.58, 0.42), rng, 0.13), bool(rng.random() < 0.6)
    angle = float(rng.uniform(0.2, 0.6))
    along = (_X - px) * np.cos(angle) + (_Y - py) * np.sin(angle)
    across = (_Y - py) * np.cos(angle) - (_X - px) * np.sin(angle)
    far = np.sqrt(along**2 + (across / 0.22) ** 2)
    ring = np.clip((0.25 * pr * 1.6 - np.abs(far - pr * 1.75)) * 90, 0, 1)
    behind = ring * (across < 0)
    distance = np.sqrt((_X - px) ** 2 + (_Y - py) ** 2)
    ball = np.clip((pr - distance) * SIZE, 0, 1)
    lit = np.clip(0.25 + 1.1 * (0.6 - (_X - px + _Y - py) / pr * 0.6), 0.12, 1.15)
    bands = 1 + 0.12 * np.sin(across / pr * 14)
    surface = np.clip(np.array(planet) * (lit * bands)[..., None], 0, 1)
    tone = (0.85, 0.8, 0.65)
    still = _blend(still, tone, (behind * 0.7 * ringed).astype(np.float32))
    still = _blend(still, surface.astype(np.float32), ball.astype(np.float32))
    still = _blend(still, tone, ((ring - behind) * 0.8 * ringed).astype(np.float32))
    phase = float(rng.uniform(0, 6))
    twinkling = rng.uniform(0, 1, (16, 3))

    def draw(t: float) -> Frame:
        out = still.copy()
        for x, y, p in twinkling:
            _disc(out, x, y, 0.004, (1, 1, 1), 0.5 + 0.5 * float(np.sin(4 * t + 30 * p)), 3)
        turn = 0.7 * t + phase
        if np.sin(turn) > -0.2 or abs(np.cos(turn)) * 2.1 > 1:
            _disc(
                out,
                px + 2.1 * pr * np.cos(turn),
                py + 0.9 * pr * np.sin(turn),
                0.028,
                (0.85, 0.87, 0.9),
                1,
                2,
            )
        head = (0.21 * t + phase) % 1.6
        for i in range(14):
            _disc(
                out,
                head - 0.013 * i - 0.1,
                0.1 + 0.4 * (head - 0.013 * i),
                0.009 * (1 - i / 14),
                (0.8, 0.93, 1.0),
                0.9 * (1 - i / 14),
                3,
            )
        return out

    return draw


def _storm(rng: np.random.Generator) -> Scene:
    clouds = _noise(rng, 6)
    base = _gradient(_tint((0.2, 0.23, 0.29), rng, 0.02), _tint((0.5, 0.55, 0.6), rng, 0.03))
    cover = np.broadcast_to(0.95 * clouds * np.clip(1.25 - 1.5 * _Y, 0, 1), (SIZE, SIZE)).astype(np.float32)
    sky = _blend(base, (0.1, 0.11, 0.15), cover)
    n = int(rng.integers(55, 95))
    drops = rng.uniform(0, 1, (n, 3))
    pale = np.full((n, 3), (0.8, 0.88, 0.96), np.float32)
    lean, beat = float(rng.uniform(0.05, 0.25)), float(rng.uniform(1.6, 2.6))
    bolt = np.cumsum(rng.normal(0, 0.03, 16)) + rng.uniform(0.3, 0.7)

    def draw(t: float) -> Frame:
        out = np.roll(sky, int(22 * t), 1)
        since = t % beat
        if since < 0.45:
            out += np.float32(0.55 * (1 - since / 0.45)) * (np.array((0.9, 0.92, 1.0), np.float32) - out)
            for i, x in enumerate(bolt):
                before = bolt[max(i - 1, 0)]
                _box(
                    out,
                    min(x, before),
                    0.05 * i,
                    abs(x - before) + 0.01,
                    0.052,
                    (1, 1, 0.92),
                    1 - since / 0.6,
                )
        fall = drops[:, 1] + t * (1.1 + 0.8 * drops[:, 2])
        for i in range(2):
            _specks(
                out,
                drops[:, 0] - lean * np.mod(fall, 1) - 0.006 * i,
                fall + 0.028 * i,
                1 + i,
                7,
                pale,
                0.4 + 0.3 * drops[:, 2],
            )
        return out

    return draw


def _party(rng: np.random.Generator) -> Scene:
    hue = float(rng.uniform(0, 1))
    rays = int(rng.integers(5, 9))
    turn = np.arctan2(_Y - 0.42, _X - 0.5)
    bits = rng.uniform(0, 1, (46, 5))
    lamps = rng.uniform(0, 1, (5, 3))
    bright = ((1.0, 0.3, 0.6), (1.0, 0.8, 0.15), (0.25, 0.9, 0.75), (0.6, 0.4, 1.0), (1.0, 1.0, 1.0))
    papers, solid = np.array(bright, np.float32)[(bits[:, 2] * 5).astype(np.int64)], np.ones(len(bits))
    first, second = _tint((0.95, 0.3, 0.6), rng, 0.08), _tint((0.98, 0.62, 0.75), rng, 0.06)

    def draw(t: float) -> Frame:
        stripes = np.clip(np.sin(rays * turn + 0.9 * t) * 9 + 0.5, 0, 1).astype(np.float32)
        out = _blend(np.broadcast_to(np.array(first, np.float32), (SIZE, SIZE, 3)), second, stripes)
        beat = abs(float(np.sin(3.2 * t)))
        for x, phase, size in lamps:
            _disc(
                out,
                0.1 + 0.8 * x,
                0.82 - 0.3 * abs(float(np.sin(3.2 * t + 3 * phase))),
                0.05 + 0.04 * size,
                bright[int(phase * 5)],
                0.95,
                1.5,
            )
        _ball(out, 0.5, 0.42, 0.16 + 0.012 * beat, t + hue)
        drift = bits[:, 0] + 0.04 * np.sin(3 * t + 9 * bits[:, 3])
        _specks(out, drift, bits[:, 1] + t * (0.16 + 0.2 * bits[:, 4]), 4, 5, papers, solid)
        return out

    return draw


def _ball(frame: Frame, x: float, y: float, radius: float, turn: float) -> None:
    """A mirror ball: a disc of tiles that glitter as it turns."""
    _box(frame, x - 0.004, 0, 0.008, y, (0.3, 0.1, 0.25))
    reach = int(radius * SIZE) + 1
    cx, cy = int(x * SIZE), int(y * SIZE)
    rows, columns = slice(cy - reach, cy + reach), slice(cx - reach, cx + reach)
    u, v = (_AXIS[None, columns] / SIZE - x) / radius, (_AXIS[rows, None] / SIZE - y) / radius
    inside = np.clip(1 - u**2 - v**2, 0, 1)
    column = np.floor((np.arcsin(np.clip(u / np.sqrt(np.clip(1 - v**2, 1e-3, 1)), -1, 1)) + 0.5 * turn) * 5)
    row = np.floor(np.arcsin(np.clip(v, -1, 1)) * 5)
    shine = 0.5 + 0.5 * np.sin(column * 12.9 + row * 78.2 + np.floor(turn * 4))
    _paint(frame, rows, columns, (0.55, 0.6, 0.75), (inside > 0).astype(np.float32))
    _paint(frame, rows, columns, (1.0, 1.0, 1.0), (np.sqrt(inside) * shine * (inside > 0)).astype(np.float32))


def _machines(rng: np.random.Generator) -> Scene:
    still = _gradient(_tint((0.36, 0.27, 0.2), rng, 0.03), _tint((0.17, 0.12, 0.1), rng, 0.02))
    for x in np.arange(0.06, 1, 0.22):
        for y in np.arange(0.06, 1, 0.22):
            _disc(still, float(x), float(y), 0.008, (0.5, 0.4, 0.3), 0.8)
    wheels = _train_of_wheels(rng)
    bar = float(rng.uniform(0.1, 0.25))

    def draw(t: float) -> Frame:
        out = still.copy()
        push = 0.08 * float(np.sin(2.2 * t))
        _box(out, bar - 0.05, 0.0, 0.1, 0.4 + push, (0.45, 0.47, 0.5))
        _box(out, bar - 0.075, 0.4 + push, 0.15, 0.09, (0.66, 0.68, 0.72))
        for wheel, rate, phase in wheels:
            wheel(out, rate * t + phase)
        return out

    return draw


def _train_of_wheels(rng: np.random.Generator) -> list[tuple[Callable[[Frame, float], None], float, float]]:
    """Three gears, each turning the next: their rates are in the ratio of their teeth."""
    x, y, teeth = float(rng.uniform(0.35, 0.5)), float(rng.uniform(0.35, 0.5)), 14
    wheels: list[tuple[Callable[[Frame, float], None], float, float]] = []
    rate, size, heading = 1.0, 0.013, float(rng.uniform(-0.5, 0.3))
    for _ in range(3):
        colour = _tint((0.85, 0.62, 0.25) if rng.random() < 0.65 else (0.68, 0.66, 0.66), rng, 0.05)
        wheels.append((_gear(x, y, teeth * size, teeth, colour), rate, float(rng.uniform(0, 1))))
        following = int(rng.choice([8, 11, 18]))
        reach = (teeth + following) * size + 0.01
        x, y = x + reach * float(np.cos(heading)), y + reach * float(np.sin(heading))
        rate, teeth, heading = -rate * teeth / following, following, heading + float(rng.uniform(0.8, 1.4))
    return wheels


def _gear(x: float, y: float, radius: float, teeth: int, colour: Colour) -> Callable[[Frame, float], None]:
    """A toothed wheel; gives back what draws it at an angle."""
    reach = radius * 1.12
    x0, x1 = max(int((x - reach) * SIZE), 0), min(int((x + reach) * SIZE) + 1, SIZE)
    y0, y1 = max(int((y - reach) * SIZE), 0), min(int((y + reach) * SIZE) + 1, SIZE)
    if x0 >= x1 or y0 >= y1:
        return lambda frame, angle: None
    rows, columns = slice(y0, y1), slice(x0, x1)
    dx, dy = _AXIS[None, columns] / SIZE - x, _AXIS[rows, None] / SIZE - y
    distance, turn = np.sqrt(dx**2 + dy**2) / radius, np.arctan2(dy, dx)
    sharp = radius * SIZE
    hub = np.clip((0.14 - distance) * sharp, 0, 1)
    rim = np.clip((0.8 - distance) * sharp, 0, 1) * np.clip((distance - 0.68) * sharp, 0, 1)
    dark = (colour[0] * 0.45, colour[1] * 0.45, colour[2] * 0.45)

    def draw(frame: Frame, angle: float) -> None:
        edge = 0.97 + 0.09 * np.clip(np.sin(teeth * (turn + angle)) * 3, -1, 1)
        holes = np.clip((np.sin(5 * (turn + angle)) - 0.35) * 6, 0, 1) * (distance < 0.62) * (distance > 0.26)
        solid = np.clip((edge - distance) * sharp + 0.5, 0, 1) * (1 - holes)
        _paint(frame, rows, columns, colour, solid)
        _paint(frame, rows, columns, dark, 0.7 * np.maximum(hub, rim))

    return draw
