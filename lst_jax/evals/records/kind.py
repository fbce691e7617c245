"""What every kind of evaluation record offers. A kind is one class in one module; `store` lists them."""

from typing import Any, ClassVar, Protocol, runtime_checkable

Row = tuple[str, str, str]  # what was measured, its value, a remark: the same in the terminal and on the page


@runtime_checkable
class Record(Protocol):
    """A frozen dataclass whose fields are the JSON object of its file, without the field "kind"."""

    KIND: ClassVar[str]  # the file's field "kind"
    TITLE: ClassVar[str]  # heading of its section in the report
    step: int  # the checkpoint that was evaluated

    def file_name(self) -> str:
        """The name of its file, without a suffix; a new record replaces the old one of the same name."""

    def rows(self) -> list[Row]:
        """Its numbers for people, each with the convention that it was measured by."""

    @classmethod
    def upgrade(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a file that an older version wrote, as this version names them."""
