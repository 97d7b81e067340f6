"""One parameter of a search: what it may be, and which of its values a grid visits."""

import math
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

Value = StrictBool | StrictInt | StrictFloat | StrictStr
MAX_GRID_POINTS: Final = 100_000


class Strict(BaseModel):
    """Base of all that a search space holds: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Parameter(Strict):
    """One thing that is tried: a number between low and high, or one of a few choices."""

    type: Literal["float", "int", "categorical"]
    low: float | None = Field(None, allow_inf_nan=False)
    high: float | None = Field(None, allow_inf_nan=False)
    log: bool = Field(False, description="chosen evenly by logarithm")
    step: float | None = Field(None, gt=0, allow_inf_nan=False, description="distance of neighbours, from low on")
    points: int | None = Field(None, ge=2, le=10_000, description="of a grid, where there is no step")
    choices: tuple[Value, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.type == "categorical":
            self._check_choices()
        else:
            self._check_range()
        return self

    def _check_choices(self) -> None:
        if not self.choices:
            raise ValueError("a categorical parameter needs choices: give at least one")
        if len({repr(choice) for choice in self.choices}) < len(self.choices):
            raise ValueError(f"choices {list(self.choices)} hold the same value twice: leave one out")
        if (self.low, self.high, self.step, self.points) != (None,) * 4 or self.log:
            raise ValueError("a categorical parameter has choices only: leave out low, high, log, step and points")

    def _check_range(self) -> None:
        if self.choices:
            raise ValueError(f"a parameter of type {self.type} has low and high, no choices: make it categorical")
        if self.low is None or self.high is None:
            raise ValueError(f"a parameter of type {self.type} needs low and high")
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} has no logarithm: give one above 0, or log: false")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other: leave one out")
        whole = [value for value in (self.low, self.high, self.step) if value is not None]
        if self.type == "int" and any(not value.is_integer() for value in whole):
            raise ValueError(f"low, high and step of an int are whole numbers, not {whole}")
        if self.step is not None:
            steps = (self.high - self.low) / self.step
            if abs(steps - round(steps)) > 1e-9 * max(steps, 1.0):
                raise ValueError(f"step {self.step:g} does not lead from low {self.low:g} to high {self.high:g}")
            if self.points is not None:
                raise ValueError("step says the points already: leave out points")

    def example(self) -> Any:
        """Some value."""
        if self.type == "categorical":
            return self.choices[0]
        return self.low if self.type == "float" or self.low is None else int(self.low)

    def grid(self) -> list[Any]:
        """The values that a grid visits. Raises ValueError where they are without number."""
        if self.type == "categorical":
            return list(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.points is not None:
            return self._spaced(self.low, self.high, self.points)
        step = self.step if self.step is not None else (1.0 if self.type == "int" and not self.log else None)
        if step is None:
            raise ValueError("a grid needs step or points here")
        count = round((self.high - self.low) / step) + 1
        if count > MAX_GRID_POINTS:
            raise ValueError(f"{count} values are too many for a grid: give points, or a longer step")
        # Rounded to the digits that low and step have: 0.1 + 2 × 0.1 is no value that anybody asked for.
        values = [float(f"{self.low + i * step:.12g}") for i in range(count)]
        return [int(value) for value in values] if self.type == "int" else values

    def _spaced(self, low: float, high: float, points: int) -> list[Any]:
        """``points`` values evenly from low to high, by logarithm where that is asked for."""
        forward, back = (math.log, math.exp) if self.log else (float, float)
        first, last = forward(low), forward(high)
        inner = [float(f"{back(first + (last - first) * i / (points - 1)):.6g}") for i in range(1, points - 1)]
        values = [low, *inner, high]
        return sorted({round(value) for value in values}) if self.type == "int" else values
