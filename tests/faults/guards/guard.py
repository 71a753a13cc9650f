"""What is known of one guard: where it is, and how the code reads without it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard in words, the one place where `text` is in `file`, what stands there `without` it, and the
    tests of which one must then fail. `also` are further replacements in the same file."""

    name: str
    file: str
    text: str
    without: str
    tests: str
    also: tuple[tuple[str, str], ...] = ()

    @property
    def edits(self) -> tuple[tuple[str, str], ...]:
        """All replacements that take the guard away."""
        return (self.text, self.without), *self.also

    def removed_from(self, source: str) -> str:
        """The source without the guard; ValueError where a text is not there exactly once."""
        for text, without in self.edits:
            if (times := source.count(text)) != 1:
                raise ValueError(f"{self.name}: {times} times in {self.file}, not once: {text.strip()!r}")
            source = source.replace(text, without)
        return source
